"""Check a label file that another program wrote as a submitted label is checked, without changing the file."""

import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lib.data.findings import Finding, InputRejected, reject
from lib.data.formats import stem
from lib.data.labels.coverage import covered_file
from lib.records.label_checks import LabelCheck, LabelChecks

logger = logging.getLogger(__name__)

NOT_CHECKED = "NOT_CHECKED"
REVISION = 1
"""Number of these checks; labels are checked again after it changes."""


class FoundLabelCheck:
    """The check of found labels of one app.

    Args:
        app_dir: Folder of the app.
        check: Checks a label file for an image and may rewrite the file; raises `InputRejected`.
        schema: What the check depends on beside the files: the labels of the app.
    """

    def __init__(self, app_dir: str | Path, check: Callable[[Path, Path], Any], schema: str) -> None:
        self.results, self._check, self._schema = LabelChecks(app_dir), check, f"{REVISION} {schema}"

    def facts(self, image: Path, files: Sequence[Path]) -> str:
        """Return the facts that a result holds for: names, sizes and times of the files, and the labels of the app.

        The file that says what a label covers is one of these files.

        Raises:
            OSError: If a file is gone.
        """
        parts = [self._schema]
        beside = filter(Path.exists, map(covered_file, files[:1]))
        for path in (image, *files, *beside):
            state = path.stat()
            parts.append(f"{path.name} {state.st_size} {state.st_mtime_ns}")
        return "\n".join(parts)

    def find(self, image: Path, files: Sequence[Path]) -> LabelCheck | None:
        """Return the earlier result for the label files of an image; None if they are new or have changed."""
        try:
            return self.results.find(_key(files), self.facts(image, files))
        except OSError:
            return None  # a file is gone, or cannot be read: the check reports it

    def put(self, files: Sequence[Path], check: LabelCheck) -> None:
        """Keep the result for the label files of an image; a check that failed by itself is made again next time."""
        if check.finding is None or check.finding.code != NOT_CHECKED:
            self.results.put({_key(files): check})

    @contextmanager
    def checked_copy(self, image: Path, label: Path) -> Iterator[Path]:
        """Yield a temporary copy of a label that passed the check, with the values and the grid of the app.

        Args:
            image: File of the image.
            label: The label's file; it stays as it is, with the file beside it that says what it covers.
        Raises:
            InputRejected: If the label cannot be used, `NOT_CHECKED` if the check itself fails.
            OSError: If the disk takes no copy.
        """
        with tempfile.TemporaryDirectory(prefix="topolabel-") as folder:
            copy = Path(folder) / f"{stem(image)}{label.name.removeprefix(stem(label))}"
            try:
                shutil.copyfile(label, copy)
                if covered_file(label).exists():
                    shutil.copyfile(covered_file(label), covered_file(copy))
                self._check(copy, image)
            except PermissionError as error:
                reason = f"The server may not read the label '{label.name}'."
                raise reject("UNREADABLE", reason, "Give the user that runs the server read permission.") from error
            except (InputRejected, OSError):
                raise
            except Exception as error:
                logger.exception("the check of the label %s failed", label)
                reason = f"The label '{label.name}' cannot be checked ({type(error).__name__}: {error})."
                raise reject(NOT_CHECKED, reason, "Read the server's log, and export the label again.") from error
            yield copy


def several_labels(study: str, files: Sequence[Path]) -> Finding:
    """Return the finding for a study with several label files, of which only its owner knows the right one."""
    reason = f"The study '{study}' has {len(files)} final labels: {', '.join(file.name for file in files)}."
    return Finding("SEVERAL_LABELS", reason, "Keep the right one in labels/final, and remove the others.")


def _key(files: Sequence[Path]) -> str:
    return os.path.abspath(files[0])
