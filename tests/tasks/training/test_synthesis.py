"""Generated images: trained on the training part only, without copies, and used in the next distillation."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lib.data.patches.label_maps import LabelMaps
from lib.data.patches.sides import AugmentSpec
from lib.data.pipeline import ImageSpec
from lib.records.ledger import Ledger
from lib.tasks.spec import AppSpec, SpecError, TaskSpec, load_app
from lib.tasks.training import synthesis as module
from lib.tasks.training.retrain import retrain
from lib.tasks.training.synthesis import synthesise, synthetic_cases
from tests.tasks.serving.test_teacher import STUDENT

QUICK = {"max_epochs": 1, "patches_per_epoch": 8, "batch_size": 4}


@pytest.fixture
def app(app_dir: Path, starter: Path) -> AppSpec:
    (app_dir / "app.toml").write_text((app_dir / "app.toml").read_text() + STUDENT)
    return load_app(app_dir)


@pytest.fixture
def studies(tmp_path: Path, write_ct: Callable[..., Path]) -> Path:
    folder = tmp_path / "studies"
    for seed in range(8):
        write_ct(seed, folder=folder, label_folder=folder / "labels" / "final")
    return folder


def test_generated_images_are_used_in_the_next_distillation(app_dir: Path, app: AppSpec, studies: Path) -> None:
    reported = []
    answer = synthesise(app_dir, "quick", studies, count=5, maps="labels", options=QUICK, device="cpu",
                        progress=lambda done, of: reported.append((done, of)))  # fmt: skip
    assert answer["made"] == 5 and reported[-1] == (5, 5) and Path(answer["picture"]).is_file()
    cases = synthetic_cases(app_dir, app.task("quick"))
    assert len(cases) == answer["kept"] and all(case.label is None for case in cases)
    assert np.asarray(nib.load(cases[0].image).dataobj).shape == (32, 32, 3)
    rows = [row.body for row in Ledger.of(app_dir).rows("job", "quick")]
    assert [row["state"] for row in rows] == ["started", "done"] and rows[-1]["kind"] == "synthesise"
    outcome = retrain(app_dir, "quick", studies, device="cpu")
    card = module.open_task_versions(app_dir, app.task("quick")).root / "versions" / outcome.version / "card.json"
    assert '"synthetic_0000"' in card.read_text()


def test_only_the_training_part_is_used(
    app_dir: Path, app: AppSpec, studies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    real = module.PatchDataset
    monkeypatch.setattr(
        module, "PatchDataset", lambda cases, *a, **k: shown.extend(c.id for c in cases) or real(cases, *a, **k)
    )
    synthesise(app_dir, "quick", studies, count=2, maps="labels", options=QUICK, device="cpu")
    parts = {row.body["case"]: row.body["part"] for row in Ledger.of(app_dir).rows("split")}
    assert shown and {parts[name] for name in shown} == {"train"}


@pytest.mark.parametrize(
    ("names", "pairs", "mirror_image"),
    [
        (("tube", "cavity"), (), [2, 2, 2, 0, 0, 0, 1, 1]),
        (("left", "right"), (("left", "right"),), [1, 1, 1, 0, 0, 0, 2, 2]),
        (("left", "right"), (), None),
    ],
)
def test_label_maps_are_mirrored_as_the_task_declares(
    task: TaskSpec, names: tuple[str, str], pairs: tuple, mirror_image: list[int] | None
) -> None:
    task = replace(task, labels=names, augment=AugmentSpec(mirror_pairs=pairs))
    drawn = np.repeat(np.array([1, 1, 0, 0, 0, 2, 2, 2], np.uint8)[None, :, None], 6, 2)
    learned = LabelMaps(drawn, np.zeros((1, 8, 6), np.float32), ("p",))
    made = module._choose_maps("labels", 40, 0, ImageSpec((1.0, 1.0, 1.0), (0.0, 1.0), (8, 6)), task, learned)
    found = [answer[:, 0].tolist() for answer in made]
    others = [profile for profile in found if profile != drawn[0, :, 0].tolist()]
    assert all(profile == mirror_image for profile in others)
    assert 10 < len(others) < 30 if mirror_image else not others


@pytest.mark.parametrize(
    ("name", "maps", "message"),
    [
        ("quick", "phantom", "has other labels than the phantoms .nasal_cavity"),
        ("quick", "drawn", "it must be 'phantom' or 'labels'"),
    ],
)
def test_unsuitable_label_maps_are_refused(
    app_dir: Path, app: AppSpec, studies: Path, name: str, maps: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        synthesise(app_dir, name, studies, count=2, maps=maps)


def test_a_task_that_segments_volumes_is_refused(app_dir: Path, app: AppSpec, studies: Path) -> None:
    text = (app_dir / "app.toml").read_text()
    text = text.replace("roi = [32, 32], slice_offsets = [-1, 0, 1] }\n\n[task.train]\nrecipe = \"finetune\"",
                        "roi = [32, 32, 16] }\n\n[task.train]\nrecipe = \"finetune\"")  # fmt: skip
    (app_dir / "app.toml").write_text(text)
    with pytest.raises(SpecError, match="generated images are slices"):
        synthesise(app_dir, "tubes", studies, count=2)


def test_a_task_without_a_window_is_refused(app_dir: Path, app: AppSpec, studies: Path) -> None:
    text = (app_dir / "app.toml").read_text()
    (app_dir / "app.toml").write_text(text.replace("window = [-1000, 400]", 'intensity = "percentile"'))
    with pytest.raises(SpecError, match="intensity = 'percentile'; generated images need one channel"):
        synthesise(app_dir, "tubes", studies, count=2)
