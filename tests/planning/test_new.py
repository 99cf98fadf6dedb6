"""`new` makes an app that trains, evaluates and proposes; where it cannot, nothing is left behind."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lib.__main__ import cli
from lib.data.pipeline import read
from lib.planning import new as module
from lib.planning.new import new_app
from lib.tasks.click.clicker import Clicker
from lib.tasks.click.request import parse_object_clicks
from lib.tasks.spec import load_app
from tests.planning.conftest import SHAPE, make_case, write


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not measure this machine: plans must not differ between runs of a test."""
    monkeypatch.setattr(module, "step_timer", lambda classes: lambda name, roi, batch, channels: 0.05)


def test_an_app_from_labelled_images_trains_and_is_evaluated(
    tmp_path: Path, folders: tuple[Path, Path], quick: None
) -> None:
    app = tmp_path / "app"
    command = ["new", str(app), "--studies", str(folders[0]), "--labelled", str(folders[1]), "--labels", "ball,tube"]
    made = CliRunner().invoke(cli, [*command, "--minutes", "1", "--json"])
    assert made.exit_code == 0, made.output
    answer = json.loads(made.stdout)
    assert (answer["studies"], answer["labels"], answer["refused"]) == (6, 5, {})
    assert load_app(app).task("segment").image.modality == "MR"
    options = ["--set", "max_epochs=2", "--set", "patches_per_epoch=2", "--set", "max_minutes=0"]
    trained = CliRunner().invoke(cli, ["train", str(app), "--task", "segment", "--json", *options])
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["held_out_cases"] >= 1
    version = json.loads(trained.stdout)["version"]
    promoted = CliRunner().invoke(cli, ["models", "promote", str(app), version, "--task", "segment"])
    assert promoted.exit_code == 0, promoted.output
    judged = CliRunner().invoke(cli, ["evaluate", str(app), "--task", "segment", "--json"])
    assert judged.exit_code == 0, judged.output
    assert len(json.loads(judged.stdout)["cases"]) == json.loads(trained.stdout)["held_out_cases"]


def test_an_app_without_labels_offers_clicks(tmp_path: Path, folders: tuple[Path, Path], quick: None) -> None:
    answer = new_app(tmp_path / "app", folders[0], labels=["ball"])
    app = load_app(tmp_path / "app")
    assert answer["labels"] == 0 and [task.kind for task in app.tasks] == ["segmentation", "click"]
    assert app.policy.retrain_after > 0 and app.strategy == "cold_start"
    clicks = Clicker.from_task(tmp_path / "app", "click", prefetch=False)
    opened = clicks.open(tmp_path / "app" / "studies" / "p1.nii.gz")
    asked = {"foreground": [[9, 9, 10]], "label": "ball"}
    click = parse_object_clicks(asked, SHAPE, "structure", ["ball"], one_slice=True)
    assert clicks.draw(opened, click, {"structure": 1}).label.shape == SHAPE


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path, folders: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match="not empty"):
        new_app(folders[0], folders[0])
    with pytest.raises(ValueError, match="lies in the folder of the studies"):
        new_app(folders[0] / "app", folders[0])


@pytest.mark.parametrize("there", [True, False])
def test_nothing_is_left_behind_if_the_import_fails(
    tmp_path: Path, folders: tuple[Path, Path], quick: None, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(module, "import_studies", fail)
    if there:
        (tmp_path / "app").mkdir()
    with pytest.raises(OSError, match="no space"):
        new_app(tmp_path / "app", *folders[:1], labelled=folders[1])
    assert (tmp_path / "app").exists() == there and not list((tmp_path / "app").glob("*"))


def test_mistakes_are_named_in_one_line(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.nii.gz", make_case(0)[0])
    for arguments, message in (
        (["--studies", str(tmp_path / "images")], "--labels A,B"),
        (["--studies", str(tmp_path / "absent"), "--labels", "a"], "there is no folder"),
        (["--studies", str(tmp_path / "images"), "--labels", "a", "--minutes", "0"], "minutes must be above 0"),
    ):
        done = CliRunner().invoke(cli, ["new", str(tmp_path / "app"), *arguments])
        assert done.exit_code == 1 and message in done.output and not (tmp_path / "app").exists()


def test_colour_pictures_with_masks_of_0_and_255(tmp_path: Path, quick: None) -> None:
    for seed in range(4):
        pixels = np.random.default_rng(seed).integers(0, 255, (70, 90, 3)).astype(np.uint8)
        mask = np.zeros((70, 90), np.uint8)
        mask[30:34] = 255
        for folder, array in (("images", pixels), ("masks", mask)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / folder / f"eye_{seed}.png")
    answer = new_app(tmp_path / "app", tmp_path / "images", labels=["vessel"], labelled=tmp_path / "masks")
    assert answer["labels"] == 4 and answer["refused"] == {}
    task = load_app(tmp_path / "app").task("segment")
    assert (task.image.modality, task.image.intensity, task.tubular) == ("RGB", "unit", ("vessel",))
    stored = np.asarray(Image.open(tmp_path / "app" / "studies" / "labels" / "final" / "eye_0.png"))
    assert stored.shape == (70, 90) and set(np.unique(stored)) == {0, 1} and (stored[30:34] == 1).all()


def test_several_channels_are_imported_and_trained(
    tmp_path: Path, quick: None, caplog: pytest.LogCaptureFixture
) -> None:
    data = tmp_path / "data"
    pairs = []
    for seed in range(4):
        image, label = make_case(seed)
        stacked = np.stack([image, 300 - image], -1)
        write(data / "imagesTr" / f"b_{seed}.nii.gz", stacked)
        write(data / "labelsTr" / f"b_{seed}.nii.gz", label)
        pairs.append({"image": f"./imagesTr/b_{seed}.nii.gz", "label": f"./labelsTr/b_{seed}.nii.gz"})
    facts = {"modality": {"0": "FLAIR", "1": "T1 w"}, "labels": {"0": "background", "1": "ball", "2": "tube"}}
    (data / "dataset.json").write_text(json.dumps(facts | {"training": pairs}))
    app = tmp_path / "app"
    answer = new_app(app, data)
    assert (answer["studies"], answer["labels"], answer["refused"]) == (4, 4, {})
    image = load_app(app).task("segment").image
    assert [(one.name, one.match, one.optional) for one in image.channels] == [
        ("reference", "", False),
        ("t1_w", "channels/t1_w/*.nii.gz", False),
    ]
    assert not (app / module.UNSTACKED).exists()
    reading = read(app / "studies" / "b_2.nii.gz", image)
    # The second channel is 300 minus the first: its standardised values are the opposite.
    first, second = reading.normalised()
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < -0.99
    options = ["--set", "max_epochs=1", "--set", "patches_per_epoch=2", "--set", "max_minutes=0"]
    trained = CliRunner().invoke(cli, ["train", str(app), "--task", "segment", "--json", *options])
    assert trained.exit_code == 0, trained.output
    assert json.loads(trained.stdout)["train_cases"] >= 1
    version = json.loads(trained.stdout)["version"]
    assert CliRunner().invoke(cli, ["models", "promote", str(app), version, "--task", "segment"]).exit_code == 0
    asked = ["infer", str(app), "--task", "segment", "--output", str(tmp_path / "answer.nii.gz"), "--image"]
    assert CliRunner().invoke(cli, [*asked, str(app / "studies" / "b_2.nii.gz")]).exit_code == 0
    (app / "studies" / "channels" / "t1_w" / "b_2.nii.gz").unlink()
    refused = CliRunner().invoke(cli, [*asked, str(app / "studies" / "b_2.nii.gz")])
    assert refused.exit_code != 0 and "CHANNEL_MISSING" in refused.output
    again = CliRunner().invoke(cli, ["train", str(app), "--task", "segment", "--json", *options])
    assert again.exit_code == 0 and "b_2 is left out: CHANNEL_MISSING" in caplog.text
    assert sum(json.loads(again.stdout)[f"{part}_cases"] for part in ("train", "val", "held_out")) == 3
