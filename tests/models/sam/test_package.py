"""The networks of segment-anything are imported without torchvision."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_torchvision_is_not_imported() -> None:
    code = (
        "import sys; from lib.models.sam.package import modeling; from torch import nn; "
        "print(issubclass(modeling().MaskDecoder, nn.Module), 'torchvision' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["True", "False"]
