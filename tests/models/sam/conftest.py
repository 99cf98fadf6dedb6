"""Fixtures with the published weights; tests that use them are skipped if the package is not installed."""

from pathlib import Path

import pytest

from lib.models.sam.build import sam_tiny
from lib.models.sam.foundation import NoFoundation, find_lite_medsam
from lib.models.sam.network import PromptedNetwork


@pytest.fixture(scope="session")
def weights_file() -> Path:
    """The file of LiteMedSAM's weights."""
    try:
        return find_lite_medsam()
    except NoFoundation as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny(weights_file: Path) -> PromptedNetwork:
    """LiteMedSAM for images of 64 samples with untrained adapters; tests must not change it."""
    return sam_tiny(64, foundation=weights_file)
