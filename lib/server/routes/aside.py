"""Labels that are refused: the file is kept, and the answer says where."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lib.data.findings import InputRejected
from lib.records.labels import keep_refused
from lib.server.refusals import refusal


@contextmanager
def kept_aside(app_dir: str | Path, image: str, label: Path) -> Iterator[None]:
    """Keep a label that is refused meanwhile.

    Args:
        app_dir: The app's folder; the file goes into its records.
        image: Name of the image.
        label: The file.
    Raises:
        Refused: What it is refused for, with the file's place in ``kept``.
    """
    # What is refused may have been rewritten before.
    sent = label.read_bytes()
    try:
        yield
    except InputRejected as error:
        refused = refusal(error, image)
        kept = keep_refused(app_dir, image, label.name, sent)
        refused.body["kept"] = kept
        refused.body["detail"] += f" The file is kept on the server as {kept}."
        raise refused from error
