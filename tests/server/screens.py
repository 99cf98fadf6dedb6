"""Constants of browser tests: the browser, the screen sizes, the folder of screenshots, and the severities of axe."""

import shutil
from pathlib import Path

CHROMIUM = shutil.which("chromium")
SHOTS = Path(__file__).resolve().parents[2] / "build" / "screenshots"
WIDE, PHONE, NARROW = 1280, 360, 320
SERIOUS = ("serious", "critical")
