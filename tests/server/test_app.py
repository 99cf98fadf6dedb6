"""The real server, driven by MONAI Label's own client class: the whole loop from proposal to the next model."""

import io
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
import SimpleITK as sitk
from monailabel.client import MONAILabelClient

pytestmark = pytest.mark.server


def load_fixtures() -> Any:
    """Return the folder's conftest as a module: test files import nothing from each other by name."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("server_conftest", Path(__file__).with_name("conftest.py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
