"""Without a GPU, tests that need one are skipped, and Triton's kernels run under its interpreter."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    # Asked for before triton is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what a plain ``pytest`` collects and this machine cannot run."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
