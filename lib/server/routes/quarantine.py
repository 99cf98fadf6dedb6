"""Quarantine of labels that were not saved: the file is kept, and the answer names its path."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from lib.records.labels import save_refused
from lib.server.refusals import refusal


@contextlib.contextmanager
def quarantine_failed(app_dir: str | Path, image: str, label: Path) -> Iterator[None]:
    """Quarantine a label file if the block refuses it or fails.

    Args:
        app_dir: The app's folder; the file is kept in its records.
        image: Name of the image.
        label: Path of the label file.
    Raises:
        Refused: The reason, with the path of the kept file in ``kept``; without it if the disk takes no file.
    """
    # Read now: the block may rewrite the file before it refuses it.
    sent = label.read_bytes()
    try:
        yield
    except Exception as error:
        refused = refusal(error, f"the label of {image}")
        if "kept" not in refused.body:
            with contextlib.suppress(OSError):
                kept = save_refused(app_dir, image, label.name, sent)
                refused.body["kept"] = kept
                refused.body["detail"] += f" The file is kept on the server as {kept}."
        raise refused from error
