"""Pairs of scans as a studies folder: two recordings of one person, with ground truth."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lib.data.cases import find_cases
from lib.data.scintigraphy.pairs import Pair, read_pair
from lib.data.scintigraphy.skeleton.cohort import write_pairs


def test_written_pairs_are_read_as_cases(tmp_path: Path) -> None:
    reported = []
    write_pairs(
        tmp_path, count=2, seed=3, fractions=(0.5, 0.25), pixel_mm=12.0, progress=lambda a, b: reported.append((a, b))
    )
    cases = find_cases(tmp_path)
    assert [case.id for case in cases] == ["skeleton_0000", "skeleton_0001"] and reported == [(1, 2), (2, 2)]
    for case, fraction in zip(cases, (0.5, 0.25), strict=True):
        assert case.label is not None
        rapid, standard, found = read_pair(Pair(case.id, case.image, case.label))
        assert found == pytest.approx(fraction, rel=0.02) and rapid.counts.shape == standard.counts.shape
        rest = standard.counts * fraction - rapid.counts
        # The two scans are independent, so the variance of the difference is m f (1 + f).
        body = standard.counts > 20
        assert rest[body].var() == pytest.approx(standard.counts[body].mean() * fraction * (1 + fraction), rel=0.2)
    truth = json.loads((tmp_path / "about" / "truth.json").read_text())
    assert truth["skeleton_0001"]["views"] == ["anterior", "posterior"]
    assert [truth[f"skeleton_000{index}"]["fraction"] for index in (0, 1)] == [0.5, 0.25]
    assert Image.open(tmp_path / "about" / "cohort.png").width > 100


def test_same_seed_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_pairs(tmp_path / name, count=1, seed=5, pixel_mm=12.0)
    one, other = (
        read_pair(Pair("x", f.image, f.label)) for f in (*find_cases(tmp_path / "a"), *find_cases(tmp_path / "b"))
    )
    assert np.array_equal(one[0].counts, other[0].counts) and np.array_equal(one[1].counts, other[1].counts)
