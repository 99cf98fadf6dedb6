"""A click app with a taught network, one for all tests of this folder, and tiny scans."""

from pathlib import Path

import pytest

from lib.tasks.click.clicker import Clicker
from tests.tasks.click.taught import make_click_app, write_scan


@pytest.fixture(scope="session")
def click_app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_click_app(tmp_path_factory.mktemp("click") / "app")


@pytest.fixture(scope="session")
def clicker(click_app: Path) -> Clicker:
    """One that looks at nothing ahead: what it encodes, somebody asked for."""
    return Clicker.from_task(click_app, "sam", device="cpu", ahead=False)


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("scans")
    return [write_scan(seed, folder / f"scan_{seed}.nii.gz") for seed in range(2)]
