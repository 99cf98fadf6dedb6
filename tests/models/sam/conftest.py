"""The real weights, where the package that carries them is installed."""

from pathlib import Path

import pytest

from lib.models.sam.build import sam_tiny
from lib.models.sam.foundation import NoFoundation, lite_medsam
from lib.models.sam.network import PromptedNetwork


@pytest.fixture(scope="session")
def weights_file() -> Path:
    """LiteMedSAM's weights."""
    try:
        return lite_medsam()
    except NoFoundation as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tiny(weights_file: Path) -> PromptedNetwork:
    """LiteMedSAM at 64 samples, with adapters that learned nothing; left as it is."""
    return sam_tiny(64, foundation=weights_file)
