"""Effect of LoRA training on clicks: Dice after three clicks on held-out procedural cases, before and after.

``python -m benchmarks.click_lessons --seeds 3 --steps 60``; training cases, patches and order depend on the seed.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness.cohorts import cohort
from benchmarks.harness.paths import ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table
from lib.evaluation.intervals import mean_interval
from lib.learning.click_validation import ClickValidation
from lib.learning.loop import train
from lib.learning.loop.ranks import Ranks
from lib.learning.loop.validation import CaseScore
from lib.learning.recipes.click import Click
from lib.models.sam import PromptedNetwork
from lib.tasks.serving.weights import build_network
from lib.tasks.spec import load_app

TASK = load_app(ROOT / "apps" / "airway").task("sam_lora")
TRAIN_CASES, HELD_OUT_CASES, TRAIN_SEED, HELD_OUT_SEED, BATCH = 6, 6, 500, 9100, 2


def judged(network: PromptedNetwork, validation: ClickValidation) -> list[CaseScore]:
    """Return the Dice after three clicks of every held-out case."""
    return validation(network.eval(), Ranks(0, 1, torch.device("cpu")))


def frozen_bytes(network: PromptedNetwork) -> bytes:
    """Return the bytes of all weights that are not trained: the encoder without adapters, and parts of the decoder."""
    names = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    tensors = {**dict(network.named_parameters()), **dict(network.named_buffers())}
    return b"".join(value.detach().numpy().tobytes() for name, value in sorted(tensors.items()) if name not in names)


def run(seed: int, steps: int) -> dict[str, object]:
    """Return the scores before and after a training, and whether the frozen weights are unchanged."""
    cases = cohort(f"click-lessons-{seed}", count=TRAIN_CASES, seed=TRAIN_SEED + seed)
    held_out = cohort("click-held-out", count=HELD_OUT_CASES, seed=HELD_OUT_SEED)
    validation = ClickValidation(held_out, TASK.image, TASK.labels, TASK.object)
    network = build_network(TASK)
    assert isinstance(network, PromptedNetwork)
    before = judged(network, validation)
    recipe = Click(
        max_epochs=1, patches_per_epoch=steps * BATCH, batch_size=BATCH, learning_rate=4e-4, warmup_steps=5, seed=seed
    )
    recipe.select_parameters(network)
    frozen = frozen_bytes(network)
    with tempfile.TemporaryDirectory() as workdir:
        result = train(
            recipe, network, cases, [], spec=TASK.image, labels=TASK.labels, workdir=Path(workdir), track=False
        )
    untouched = frozen_bytes(network) == frozen
    network.load_state_dict(result.state_dict)
    return {"seed": seed, "before": before, "after": judged(network, validation), "frozen_untouched": untouched}


def gains(row: dict[str, object], name: str) -> list[float]:
    """Return the difference of a score, after minus before, case by case."""
    pairs = zip(row["before"], row["after"], strict=True)  # type: ignore[call-overload]
    values = [(b["scores"][name], a["scores"][name]) for b, a in pairs]
    return [after - before for before, after in values if before is not None and after is not None]


def mean(scores: list[CaseScore], name: str) -> float:
    """Return the mean over cases that have the class."""
    return float(np.mean([score["scores"][name] for score in scores if score["scores"][name] is not None]))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    options = parser.parse_args()
    rows = []
    for seed in range(options.seeds):
        rows.append(run(seed, options.steps))
        print(seed, mean(rows[-1]["before"], TASK.object), mean(rows[-1]["after"], TASK.object), flush=True)
    cells = []
    for row in rows:
        gap = mean_interval(gains(row, TASK.object))
        before, after = (mean(row[when], TASK.object) for when in ("before", "after"))
        state = "untouched" if row["frozen_untouched"] else "CHANGED"
        interval = f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"
        cells.append([str(row["seed"]), f"{before:.3f}", f"{after:.3f}", interval, state])
    over = mean_interval([float(np.mean(gains(row, TASK.object))) for row in rows])
    cells.append(["all", "", "", f"{over.mean:+.3f} [{over.low:+.3f}, {over.high:+.3f}] over seeds", ""])
    heads = ["seed", "airway before", "after", "gain, 95 % over cases", "frozen weights"]
    lines = markdown_table(heads, "rrrrl", cells)
    command = f"python -m benchmarks.click_lessons --seeds {options.seeds} --steps {options.steps}"
    note = (
        f"{options.steps} steps of {BATCH} patches on {TRAIN_CASES} procedural cases, different for every seed\n"
        f"(cohorts from seed {TRAIN_SEED}), judged on {HELD_OUT_CASES} held-out cases (cohort seed {HELD_OUT_SEED}):\n"
        "Dice after three simulated clicks, four slices per case, Student's intervals."
    )
    write_result("click_lessons", command, {"rows": rows}, "\n".join([*lines, "", note]))
