#!/bin/sh
# Train the starter weights on procedural skeletons only, in a copy of the app. Run as `make starter APP=scintigraphy`.
set -eu
run="${VENV:-.venv}/bin/python"
cohort="${COHORT:-build/skeletons}"
app="build/starter-scintigraphy"
[ -f "$cohort/about/truth.json" ] || "$run" -m lib phantom --of skeleton --count "${COUNT:-48}" --seed 1 --out "$cohort"
rm -rf "$app"
mkdir -p "$app"
# Train the first stage only: on a processor the masks of segment-anything would take most of the time.
sed 's/^counts = { /&guided = false, /' apps/scintigraphy/app.toml > "$app/app.toml"
OMP_WAIT_POLICY=PASSIVE "$run" -m lib train "$app" --task bone_scan --studies "$cohort" --json --set max_epochs="${EPOCHS:-47}" \
    --set distillation_weight=0 --set consistency_weight=0 --set val_interval=10000 --set seed=0
version=$(ls -d "$app"/model/bone_scan/versions/*/)
mkdir -p apps/scintigraphy/starter/nafnet_small
cp "$version"weights.safetensors "$version"card.json apps/scintigraphy/starter/nafnet_small/
