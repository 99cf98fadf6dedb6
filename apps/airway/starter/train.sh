#!/bin/sh
# Train the starter weights on the procedural cohort only, from scratch, in a copy of the app. Run as `make starter`.
set -eu
run="${VENV:-.venv}/bin/python"
cohort="${COHORT:-build/cohort}"
app=build/starter-app
[ -f "$cohort/topology.json" ] || "$run" -m lib phantom --count 96 --seed 1 --out "$cohort"
rm -rf "$app"
mkdir -p "$app"
cp apps/airway/app.toml "$app/"
# Passive waiting keeps two threads fast on a machine that does other things too.
OMP_WAIT_POLICY=PASSIVE "$run" -m lib train "$app" --task topowmamba --studies "$cohort" --json \
    --set max_minutes="${MINUTES:-50}" --set max_epochs=10000 --set patches_per_epoch=640 --set batch_size=4 \
    --set learning_rate=2e-3 --set warmup_steps=200 --set ema_decay=0.998 --set val_interval=10000 --set seed=0
version=$(ls -d "$app"/model/topowmamba/versions/*/)
mkdir -p apps/airway/starter/topowmamba_small
cp "$version"weights.safetensors "$version"card.json apps/airway/starter/topowmamba_small/
