"""On a machine without a GPU, skip the GPU tests and run Triton kernels under the Triton interpreter."""

import os

import pytest
import torch

if not torch.cuda.is_available():
    # Triton reads this variable when it is imported.
    os.environ.setdefault("TRITON_INTERPRET", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests with the marker ``gpu`` on a machine without a CUDA device."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))
