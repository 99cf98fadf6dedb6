"""What browser tests share: the browser, the sizes of screens, where pictures go, what axe may not find."""

import shutil
from pathlib import Path

CHROMIUM = shutil.which("chromium")
SHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
WIDE, PHONE, NARROW = 1280, 360, 320
SERIOUS = ("serious", "critical")
