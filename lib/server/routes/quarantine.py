"""Quarantine of refused labels: the file is kept, and the answer names its path."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.data.findings import InputRejected
from lib.records.labels import save_refused
from lib.server.refusals import refusal


@contextmanager
def quarantine_rejected(app_dir: str | Path, image: str, label: Path) -> Iterator[None]:
    """Quarantine a label file if the block refuses it.

    Args:
        app_dir: The app's folder; the file is kept in its records.
        image: Name of the image.
        label: Path of the label file.
    Raises:
        Refused: The reason, with the path of the quarantined file in ``kept``.
    """
    # Read now: the block may rewrite the file before it refuses it.
    sent = label.read_bytes()
    try:
        yield
    except InputRejected as error:
        refused = refusal(error, image)
        kept = save_refused(app_dir, image, label.name, sent)
        refused.body["kept"] = kept
        refused.body["detail"] += f" The file is kept on the server as {kept}."
        raise refused from error
