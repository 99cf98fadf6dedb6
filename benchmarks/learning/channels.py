"""Two noisy channels of one image against one: real hippocampi, of which each channel has strong noise of its own.

``python -m benchmarks.channels --seeds 3 --steps 300``

Only the first 160 images by name are used: 120 to train, 40 to judge. The last 40 of the folder stay unseen.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmarks.harness.paths import BUILD, RESULTS, ROOT
from benchmarks.harness.results import write_result
from benchmarks.harness.runs import resumed_runs
from benchmarks.harness.tables import markdown_table, mean_sd
from benchmarks.learning.arms import build, judge, run_arm
from lib.data.cases import Case, find_cases
from lib.data.channels import ChannelSpec
from lib.data.files.tables import join_words
from lib.data.intensity import ZSCORE
from lib.data.modality import MR
from lib.data.pipeline import ImageSpec
from lib.evaluation.intervals import mean_interval
from lib.learning.recipes.finetune import Finetune

LABELS = ("anterior", "posterior")
USED, TRAINED, BATCH, NOISE_SD = 160, 120, 4, 2.0
"""Images that are used, those of them that train, patches per step, and noise in standard deviations of the image."""
SPEC = ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), (40, 56, 40), intensity=ZSCORE, modality=MR)
SECOND = "channels/second/*.nii.gz"
CLEAN, ONE, BOTH, SOME, SOME_ONE = "clean", "one noisy", "two noisy", "two, a third lacks one", "the same, one only"
"""The arms. The last is the fourth arm's network, judged without the second channel."""


def write_cases(folder: Path, source: Path, *, noisy: bool, lacking: bool) -> list[Case]:
    """Return cases with two noisy channels, or clean ones; of three in a row, one training case may lack the second."""
    files = sorted((source / "imagesTr").glob("*.nii.gz"))[:USED]
    for number, file in enumerate(files):
        image = nib.load(file)  # type: ignore[attr-defined]
        voxels = np.asarray(image.dataobj, np.float32)  # type: ignore[attr-defined]
        rng = np.random.default_rng([7, number])
        for channel, name in enumerate((file.name, f"channels/second/{file.name}")):
            noise = rng.normal(0, NOISE_SD * voxels.std(), voxels.shape) if noisy else 0
            if channel and lacking and number < TRAINED and number % 3 == 0:
                continue
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            nib.save(nib.Nifti1Image((voxels + noise).astype(np.float32), image.affine), folder / name)  # type: ignore
    return find_cases(folder, source / "labelsTr", channels=("channels",))


def with_second(optional: bool) -> ImageSpec:
    """Return the specification with the second channel."""
    channels = (ChannelSpec("first"), ChannelSpec("second", match=SECOND, optional=optional))
    return ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), SPEC.roi, intensity=ZSCORE, modality=MR, channels=channels)


def run(seed: int, steps: int, source: Path) -> dict[str, dict[str, float]]:
    """Return the Dice of each judged case, mean of both labels, by arm."""
    arms = {
        CLEAN: (SPEC, dict(noisy=False, lacking=False)),
        ONE: (SPEC, dict(noisy=True, lacking=False)),
        BOTH: (with_second(False), dict(noisy=True, lacking=False)),
        SOME: (with_second(True), dict(noisy=True, lacking=True)),
    }
    found: dict[str, dict[str, float]] = {}
    for name, (spec, kind) in arms.items():
        with tempfile.TemporaryDirectory() as folder:
            cases = write_cases(Path(folder), source, **kind)
            network = build("segresnet", spec, LABELS, seed)
            recipe = Finetune(
                max_epochs=1, patches_per_epoch=steps * BATCH, batch_size=BATCH, learning_rate=2e-3, seed=seed
            )
            run_arm(network, recipe, cases[:TRAINED], spec, LABELS, Path(folder) / "run")
            found[name] = scores(judge(network, cases[TRAINED:], spec, LABELS)["cases"])
            if name == SOME:
                for case in cases[TRAINED:]:
                    (case.image.parent / SECOND.replace("*.nii.gz", case.image.name)).unlink()
                found[SOME_ONE] = scores(judge(network, cases[TRAINED:], spec, LABELS)["cases"])
        print(name, seed, round(float(np.mean(list(found[name].values()))), 4), flush=True)
    return found


def scores(cases: dict) -> dict[str, float]:
    """Return the mean Dice of each case."""
    return {name: float(case["mean"]["dice"]) for name, case in cases.items()}


def table(seeds: Sequence[dict[str, dict[str, float]]]) -> str:
    """Render mean and standard deviation over seeds, and differences of the cases with their interval."""
    against = {ONE: CLEAN, BOTH: ONE, SOME: BOTH, SOME_ONE: ONE}
    rows = []
    for arm in seeds[0]:
        means = [float(np.mean(list(seed[arm].values()))) for seed in seeds]
        cell = "-"
        if arm in against:
            other = against[arm]
            gaps = [np.mean([seed[arm][case] - seed[other][case] for seed in seeds]) for case in seeds[0][arm]]
            gap = mean_interval([float(gap) for gap in gaps])
            cell = f"{gap.mean:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}] against {other}"
        rows.append([arm, mean_sd(means, 3), cell])
    return "\n".join(markdown_table(["Channels", "Dice", "Difference"], "lrl", rows))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    source = Path(os.environ.get("TOPOLABEL_DATA", ROOT.parent / "shared" / "data")) / "hippocampus"
    if not source.is_dir():
        raise SystemExit(f"{source} is missing: set TOPOLABEL_DATA to a folder with hippocampus/imagesTr and labelsTr")
    folder = BUILD / "channels" / f"{options.steps}-{NOISE_SD:g}"
    with resumed_runs(RESULTS / "channels_runs.json", folder, "*.json"):
        for seed, path in ((seed, folder / f"{seed}.json") for seed in range(options.seeds)):
            folder.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.write_text(json.dumps(run(seed, options.steps, source)))
    seeds = [json.loads((folder / f"{seed}.json").read_text()) for seed in range(options.seeds)]
    note = (
        f"\n{join_words(LABELS)} hippocampus (Medical Segmentation Decathlon): {TRAINED} cases to train and"
        f" {USED - TRAINED} to judge, all of the first {USED} by name. Each channel is the image with noise of"
        f" {NOISE_SD:g} times its SD, drawn for itself. SegResNet, {options.steps} steps of {BATCH} patches,"
        f" {options.seeds} seeds: mean ± SD over seeds; intervals over cases."
    )
    command = f"python -m benchmarks.channels --seeds {options.seeds} --steps {options.steps}"
    write_result("channels", command, {"seeds": seeds}, table(seeds) + "\n" + note)
