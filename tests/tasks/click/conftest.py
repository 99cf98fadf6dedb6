"""A click app with a trained network and tiny scans, shared by the tests of this folder."""

from pathlib import Path

import pytest

from lib.tasks.click.clicker import Clicker
from tests.tasks.click.taught import make_click_app, write_scan


@pytest.fixture(scope="session")
def click_app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_click_app(tmp_path_factory.mktemp("click") / "app")


@pytest.fixture(scope="session")
def clicker(click_app: Path) -> Clicker:
    """A clicker without prefetch: it encodes only what a request needs."""
    return Clicker.from_task(click_app, "sam", device="cpu", prefetch=False)


@pytest.fixture(scope="session")
def scans(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("scans")
    return [write_scan(seed, folder / f"scan_{seed}.nii.gz") for seed in range(2)]
