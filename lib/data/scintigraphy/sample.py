"""Find a real bone scan with recorded counts in the package pydicom-data, which is freely available."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path

PACKAGE, PLACE = "pydicom-data", "data_store/data/JPEG-LL.dcm"
SHA256 = "c9d000c75d92b143ce1c0421471a7e9a69c8996d98b2589e533e311615a10079"


def bone_scan() -> Path:
    """Return the file of a whole-body scan: 1024 x 256 pixels of 2.26 mm, 3,596,452 counts, MIT licence.

    Raises:
        FileNotFoundError: If the package is not installed, or its file is not the expected one.
    """
    try:
        path = Path(str(importlib.metadata.distribution(PACKAGE).locate_file(PLACE)))
    except importlib.metadata.PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise FileNotFoundError(f"the real bone scan is not installed: run pip install {PACKAGE}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise FileNotFoundError(
            f"{path.name} of {PACKAGE} is another file than the expected bone scan: reinstall {PACKAGE}"
        )
    return path
