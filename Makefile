# One place for every command. VENV may name another folder; quotes keep paths with spaces whole.
VENV ?= .venv
PYTHON ?= python3
RUN := "$(VENV)/bin/python"
HOST ?= 127.0.0.1
PORT ?= 8000
APP ?= airway
STUDIES ?= $(if $(filter scintigraphy,$(APP)),sample-data/scans,sample-data/studies)
COHORT ?= $(if $(filter scintigraphy,$(APP)),build/skeletons,build/cohort)
TASK ?= topowmamba
ARCHIVE_PORT ?= 8042

.PHONY: help setup sample servers start ohif test test-slow lint types format bench starter

help:  ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup:  ## virtual environment and dependencies, once per requirements.txt
	@VENV="$(VENV)" PYTHON="$(PYTHON)" sh sample-data/setup.sh

sample: setup  ## the sample study and the sample scan, once
	@$(RUN) sample-data/build.py
	@$(RUN) sample-data/scans.py

servers:
	@sh sample-data/servers.sh

start: sample  ## serve APP (airway, scintigraphy) on http://127.0.0.1:8000 from a local folder
	@$(RUN) -m lib serve "apps/$(APP)" --studies "$(STUDIES)" --host "$(HOST)" --port "$(PORT)"

ohif: sample servers  ## the same on an Orthanc of its own, for the OHIF viewer in a browser
	@PYTHONPATH="$(CURDIR)" $(RUN) sample-data/ohif.py --studies "$(STUDIES)" --host "$(HOST)" --port "$(PORT)" --archive-port "$(ARCHIVE_PORT)"

lint: setup  ## style, format, and words that are not used
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) .ci/words.py

types: setup
	@$(RUN) -m pyright --pythonpath "$(VENV)/bin/python"

format: setup  ## let ruff mend what it can
	@$(RUN) -m ruff check --fix . ; $(RUN) -m ruff format .

test: sample servers lint types  ## everything CI runs: lint, types, architecture, tests
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile -m "not slow and not gpu and not server"
	@$(RUN) -m pytest -n 2 --dist loadfile -m "server and not slow"

test-slow: sample servers  ## the longer proofs
	@$(RUN) -m pytest -m slow

bench: sample  ## the benchmarks, as tables of ratios (benchmarks/results/)
	@for name in scan scan_gpu kernels networks reading clicks busy students summary; do $(RUN) -m benchmarks.$$name || exit 1; done

starter: setup  ## train the starter weights of APP (and its TASK: topowmamba, student, sam_lora) again, on procedural cases only
	@VENV="$(VENV)" COHORT="$(COHORT)" TASK="$(TASK)" sh "apps/$(APP)/starter/train.sh"
