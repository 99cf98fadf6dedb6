"""Pictures of saved labels over their images: drawn once in a separate process and cached; the oldest are removed.

A picture of a large study takes seconds and gigabytes. In a separate process it neither delays answers nor enlarges
the server's memory.
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
from lib.data.modality import CT
from lib.server.refusals import Refused

FOLDER = Path("model") / ".overlays"
MAX_FILES = 300
MAX_WAITING = 8
DRAW_SECONDS = 120
WAIT_SECONDS = 300
"""Longest wait for the pictures before this one: on a busy machine each takes up to half a minute."""
_drawing = threading.Lock()
_waiting = threading.BoundedSemaphore(MAX_WAITING)


@dataclass(frozen=True)
class Picture:
    """A picture to draw.

    Args:
        image: Path of the image.
        label: Path of the label.
        key: Name of the picture, unique per image and label.
        labels: Label value by class name.
        title: Title of the picture.
        spots: Positions to mark with a ring, as in `lib.server.admin.draw.draw`.
    """

    image: Path
    label: Path
    key: str
    labels: Mapping[str, int]
    title: str
    spots: Sequence[Mapping[str, Any]] = ()
    modality: str = CT


def overlay(app_dir: Path, picture: Picture, *, small: bool) -> Path:
    """Return the path of the PNG of a label over its image; draw it if it does not exist yet.

    Args:
        app_dir: The app's folder; pictures are cached below it.
        picture: The picture to draw.
        small: Whether to return the small preview.
    Raises:
        Refused: NO_PICTURE if drawing fails or times out; BUSY if too many pictures wait.
    """
    folder = app_dir / FOLDER
    wanted = folder / f"{picture.key}{'-small' if small else ''}.png"
    if wanted.is_file():
        return wanted
    if not _waiting.acquire(blocking=False):
        raise _busy()
    try:
        if not _drawing.acquire(timeout=WAIT_SECONDS):
            raise _busy()
        try:
            if not wanted.is_file():
                _draw(picture, folder / picture.key)
                _remove_oldest(folder)
        finally:
            _drawing.release()
    finally:
        _waiting.release()
    return wanted


def _draw(picture: Picture, target: Path) -> None:
    names = (picture.image, picture.label, target, json.dumps(dict(picture.labels)), picture.title)
    names = (*names, json.dumps(list(picture.spots)), picture.modality)
    command = [sys.executable, "-m", "lib.server.admin.draw", *map(str, names)]
    try:
        done = subprocess.run(
            command, cwd=lib.REPOSITORY, capture_output=True, text=True, errors="replace", timeout=DRAW_SECONDS
        )
    except subprocess.TimeoutExpired:
        reason = f"Drawing the picture took longer than {DRAW_SECONDS} s."
        raise Refused(503, "NO_PICTURE", reason, "Open the study in a viewer.") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason is known"])[-1]
        raise Refused(422, "NO_PICTURE", f"The label cannot be drawn: {last[:300]}", "Open the study in a viewer.")


def _remove_oldest(folder: Path) -> None:
    pictures = sorted(folder.glob("*.png"), key=lambda path: path.stat().st_mtime)
    for path in pictures[:-MAX_FILES]:
        path.unlink(missing_ok=True)


def _busy() -> Refused:
    return Refused(503, "BUSY", "The server is drawing other pictures.", "Reload the page in a minute.")
