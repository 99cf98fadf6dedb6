"""What a label file covers: the labels of the app that an annotator drew in it, all of them by default.

The names are in a file beside the label, ``<name>.covered.json`` with ``{"covered": ["larynx"]}``. Where a label is not
covered, its absence says nothing: a voxel of value 0 may belong to it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.files.atomic import replacing
from lib.data.findings import reject
from lib.data.formats import stem
from lib.data.labels.names import find_value
from lib.data.labels.values import IGNORE

COVERED = "covered"
"""Key of the names, in the file beside a label and in the params of a submitted label."""
SUFFIX = f".{COVERED}.json"
_SHOWN = 80


def covered_file(label: Path) -> Path:
    """Return the path of the file that says what a label file covers."""
    return label.with_name(f"{stem(label)}{SUFFIX}")


def read_covered(label: Path) -> tuple[str, ...] | None:
    """Return the names that the file beside a label gives, as they are written there; None without that file.

    Raises:
        InputRejected: COVERED if the file cannot be read.
    """
    file = covered_file(label)
    try:
        names = json.loads(file.read_text(encoding="utf-8"))[COVERED]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        reason = f"'{file.name}' does not say which labels '{label.name}' covers ({type(error).__name__})."
        raise reject("COVERED", reason, f'Write {{"{COVERED}": ["NAME"]}} there, or remove it.') from error
    _require_names(names)
    return tuple(names)


def write_covered(label: Path, covered: Sequence[str] | None) -> None:
    """Write the file that says what a label covers; None removes it, because a label covers everything by default."""
    file = covered_file(label)
    if covered is None:
        file.unlink(missing_ok=True)
        return
    with replacing(file) as partial:
        partial.write_text(json.dumps({COVERED: list(covered)}), encoding="utf-8")


def parse_covered(sent: Any, values: Mapping[str, int]) -> tuple[str, ...] | None:
    """Return the labels that a label is stated to cover, in the order of the app; None without a statement.

    Args:
        sent: The names, as a file or a client gives them; None gives None.
        values: The app's value of each label.
    Raises:
        InputRejected: COVERED if these are no names, or a name is no label of the app.
    """
    if sent is None:
        return None
    _require_names(sent)
    found = {name: find_value([name], values) for name in sent}
    if unknown := [name for name, value in found.items() if value in (None, IGNORE)]:
        shown, known = ", ".join(unknown)[:_SHOWN], ", ".join(values) or "none"
        reason = f"The label covers '{shown}', which is no label of the app."
        raise reject("COVERED", reason, f"Name some of the labels of the app: {known}.")
    return tuple(name for name, value in values.items() if value in found.values())


def check_covered(voxels: NDArray[Any], covered: Sequence[str] | None, values: Mapping[str, int]) -> None:
    """Refuse a label with voxels of a label that it does not cover.

    Args:
        voxels: Label values of the app, of any shape.
        covered: Names of the covered labels; None for all.
        values: The app's value of each label.
    Raises:
        InputRejected: COVERED, with the labels that are there and not covered.
    """
    if covered is None:
        return
    present = np.flatnonzero(np.bincount(voxels.ravel().astype(np.uint8), minlength=IGNORE + 1))
    if drawn := [name for name, value in values.items() if name not in covered and value in present]:
        reason = f"The label covers {', '.join(covered)} only, and has voxels of {', '.join(drawn)}."
        raise reject("COVERED", reason, f"Add {', '.join(drawn)} to the covered labels, or remove these voxels.")


def covers(covered: Sequence[str] | None, labels: Sequence[str]) -> tuple[bool, ...]:
    """Return for each of a task's labels whether a label file covers it.

    Args:
        covered: Names of the covered labels; None for all.
        labels: Names of the task's labels.
    """
    return tuple(covered is None or name in covered for name in labels)


def _require_names(names: Any) -> None:
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        reason = f"The covered labels are {str(names)[:_SHOWN]!r}, which is no list of names."
        raise reject("COVERED", reason, f'Give a list with at least one name: {{"{COVERED}": ["NAME"]}}.')
