#!/bin/sh
# Train a task's starter weights on the procedural cohort only, in a copy of the app. Run as `make starter TASK=...`.
set -eu
run="${VENV:-.venv}/bin/python"
cohort="${COHORT:-build/cohort}"
task="${TASK:-topowmamba}"
app="build/starter-$task"
minutes="${MINUTES:-50}"
case "$task" in
    topowmamba)
        model=topowmamba_small
        set -- patches_per_epoch=640 batch_size=4 learning_rate=2e-3 warmup_steps=200 ema_decay=0.998
        ;;
    sam_lora)
        model=sam_tiny
        set -- patches_per_epoch=200 batch_size=2 learning_rate=4e-4 warmup_steps=25 ema_decay=0.99
        ;;
    student)
        model=student_conv
        set -- patches_per_epoch=640 batch_size=8 learning_rate=4e-3 warmup_steps=100 ema_decay=0.998 finetune_epochs=0
        ;;
    *) echo "no starter recipe for task '$task'; expected topowmamba, sam_lora or student" >&2 && exit 1 ;;
esac
for option in "$@"; do options="${options:-} --set $option"; done
[ -f "$cohort/about/topology.json" ] || "$run" -m lib phantom --count "${COUNT:-96}" --seed 1 --out "$cohort"
rm -rf "$app"
mkdir -p "$app"
cp apps/airway/app.toml "$app/"
# A student needs the starter weights of its teacher.
[ "$task" != student ] || { mkdir "$app/starter" && cp -r apps/airway/starter/topowmamba_small "$app/starter/"; }
# Passive waiting keeps two threads fast on a machine with other load.
# shellcheck disable=SC2086
OMP_WAIT_POLICY=PASSIVE "$run" -m lib train "$app" --task "$task" --studies "$cohort" --json $options \
    --set max_minutes="$minutes" --set max_epochs=10000 --set val_interval=10000 --set seed=0
version=$(ls -d "$app/model/$task"/versions/*/)
mkdir -p "apps/airway/starter/$model"
cp "$version"weights.safetensors "$version"card.json "apps/airway/starter/$model/"
# The weights trained on top of a foundation model are stored in half precision: half the size, the same masks.
[ "$task" != sam_lora ] || "$run" - "apps/airway/starter/$model/weights.safetensors" << 'PY'
import sys
from safetensors.torch import load_file, save_file
state = load_file(sys.argv[1])
save_file({name: value.half() if value.is_floating_point() else value for name, value in state.items()}, sys.argv[1])
PY
