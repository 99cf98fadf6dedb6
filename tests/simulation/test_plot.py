from pathlib import Path

from PIL import Image

from lib.simulation.curves import REFERENCE
from lib.simulation.plot import draw_curves
from tests.simulation.test_curves import points


def test_curves_are_drawn_to_a_png_file(tmp_path: Path) -> None:
    runs = {name: {seed: points(0.2, 0.4, 0.5 + seed / 10) for seed in range(2)} for name in ("random", REFERENCE, "a")}
    draw_curves(runs, tmp_path / "made" / "curves.png")
    with Image.open(tmp_path / "made" / "curves.png") as picture:
        assert picture.width > 1000 and len(picture.convert("RGB").getcolors(1 << 20) or []) > 50


def test_one_seed_is_drawn_without_a_band(tmp_path: Path) -> None:
    draw_curves({"random": {0: points(0.2, 0.4)}}, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 1000
