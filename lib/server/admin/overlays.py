"""Pictures of saved labels on their images: made once each, in a process of their own, the oldest removed.

A picture takes seconds of computing and gigabytes for a large study; the server must answer meanwhile, and stay small.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lib
from lib.server.refusals import Refused

FOLDER = Path("model") / ".overlays"
KEPT = 300
WAITING = 8
TURN_SECONDS, DRAW_SECONDS = 60, 120
_turn = threading.Lock()
_seats = threading.BoundedSemaphore(WAITING)


@dataclass(frozen=True)
class Picture:
    """What is to be drawn.

    Args:
        image: The image's file.
        label: The label's file.
        key: Names the picture; different for every image and label.
        labels: Value of each class by name.
        title: Heading.
        spots: As `lib.server.admin.draw` takes them.
    """

    image: Path
    label: Path
    key: str
    labels: Mapping[str, int]
    title: str
    spots: Sequence[Mapping[str, Any]] = ()


def overlay(app_dir: Path, picture: Picture, *, small: bool) -> Path:
    """Return the PNG of a label on its image; made now if it is not there.

    Args:
        app_dir: The app's folder; pictures are kept below it.
        picture: What is to be drawn.
        small: Whether a preview will do.
    Raises:
        Refused: If it cannot be drawn, or too many wait for theirs.
    """
    folder = app_dir / FOLDER
    wanted = folder / f"{picture.key}{'-small' if small else ''}.png"
    if wanted.is_file():
        return wanted
    if not _seats.acquire(blocking=False):
        raise _busy()
    try:
        if not _turn.acquire(timeout=TURN_SECONDS):
            raise _busy()
        try:
            if not wanted.is_file():
                _draw(picture, folder / picture.key)
                _sweep(folder)
        finally:
            _turn.release()
    finally:
        _seats.release()
    return wanted


def _draw(picture: Picture, target: Path) -> None:
    names = (picture.image, picture.label, target, json.dumps(dict(picture.labels)), picture.title)
    names = (*names, json.dumps(list(picture.spots)))
    command = [sys.executable, "-m", "lib.server.admin.draw", *map(str, names)]
    try:
        done = subprocess.run(
            command, cwd=lib.REPOSITORY, capture_output=True, text=True, errors="replace", timeout=DRAW_SECONDS
        )
    except subprocess.TimeoutExpired:
        reason = f"The picture was not drawn within {DRAW_SECONDS} s."
        raise Refused(503, "NO_PICTURE", reason, "Open the study in a viewer.") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason was given"])[-1]
        raise Refused(422, "NO_PICTURE", f"The label cannot be drawn: {last[:300]}", "Open the study in a viewer.")


def _sweep(folder: Path) -> None:
    pictures = sorted(folder.glob("*.png"), key=lambda path: path.stat().st_mtime)
    for path in pictures[:-KEPT]:
        path.unlink(missing_ok=True)


def _busy() -> Refused:
    return Refused(503, "BUSY", "Other pictures are being drawn.", "Ask again in a minute.")
