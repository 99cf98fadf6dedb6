"""The newest saved labels with their findings."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from monailabel.interfaces.datastore import Datastore

from lib.records.labels import PREDICTED, REMOVED
from lib.records.ledger import Ledger, Row
from lib.tasks.store.archive import ArchiveStore
from lib.tasks.store.final_labels import RefusedLabel
from lib.tasks.store.folder import FolderStore

WINDOW_ROWS = 5000
"""Number of rows at the end of the ledger that the pages read, so that a page is fast with a ledger of any length."""
FINDINGS_SHOWN = 12
_known: WeakKeyDictionary[Ledger, list[Row]] = WeakKeyDictionary()
_reading = threading.Lock()


@dataclass(frozen=True)
class LabelFinding:
    """A finding about a label.

    Args:
        code: Kind of the finding.
        reason: What was found.
        remedy: The next step for the annotator.
        ras_mm: Position in RAS+ coordinates (right, anterior, superior), in mm; None if the finding has no position.
        voxel: Position as voxel indices in the file's axis order; None if the finding has no position.
    """

    code: str
    reason: str
    remedy: str
    ras_mm: tuple[float, ...] | None = None
    voxel: tuple[float, ...] | None = None


@dataclass(frozen=True)
class SavedLabel:
    """A saved label.

    Args:
        row: The label's row of the ledger.
        findings: The findings about the label.
    """

    row: Row
    findings: Sequence[LabelFinding]

    @property
    def digest(self) -> str:
        """SHA-256 of the label; empty if the label was removed."""
        return str(self.row.body.get("label") or "")

    @property
    def removed(self) -> bool:
        """Whether the row records the removal of the label."""
        return self.row.body.get("source") == REMOVED


def window(ledger: Ledger) -> list[Row]:
    """Return the label rows among the last `WINDOW_ROWS` of the ledger, oldest first; rows are cached."""
    with _reading:
        last, known = ledger.last(), _known.get(ledger, [])
        oldest = last - WINDOW_ROWS
        # A ledger that is shorter than the cached rows has been replaced: the cache is discarded.
        kept = [row for row in known if row.seq > oldest] if not known or known[-1].seq <= last else []
        after = kept[-1].seq if kept else max(0, oldest)
        _known[ledger] = kept + ledger.rows("label", after=after)
        return _known[ledger]


def saved(rows: Sequence[Row], *, before: int = 0, count: int, with_findings: bool = False) -> list[SavedLabel]:
    """Return labels that annotators saved, newest first.

    Args:
        rows: Label rows of the ledger, oldest first.
        before: Return only rows before this row number; 0 for the newest.
        count: Largest number of labels.
        with_findings: Whether to return only labels with findings.
    """
    selected = []
    for row in reversed(rows):
        if (before and row.seq >= before) or row.body.get("source") == PREDICTED:
            continue
        findings = _read_findings(row.body.get("findings"))
        if findings or not with_findings:
            selected.append(SavedLabel(row, findings))
        if len(selected) == count:
            break
    return selected


def not_used(store: Datastore) -> tuple[Sequence[RefusedLabel], int]:
    """Return the labels of other programs that are not used, and the number of labels that wait for a check.

    Args:
        store: The store of studies: a folder with files in ``labels/final``, or an archive with SEGs.
    """
    if isinstance(store, ArchiveStore):
        return store.refused, 0
    final = store.final if isinstance(store, FolderStore) else None
    return (final.refused, final.left) if final else ((), 0)


def find(ledger: Ledger, image: str, digest: str) -> Row | None:
    """Return the newest row of a label of an image, None if the ledger has no such label."""
    rows = [row for row in ledger.rows("label", image) if row.body.get("label") == digest]
    return rows[-1] if rows else None


def spots(row: Row) -> list[dict[str, Any]]:
    """Return the positions of a label's findings, numbered as in the list of findings.

    Args:
        row: The label's row of the ledger.
    Returns:
        One ``{"ras_mm": [x, y, z], "text": "3 BREAK"}`` per finding with a position; coordinates in mm.
    """
    numbered = enumerate(_read_findings(row.body.get("findings")), start=1)
    return [
        {"ras_mm": list(finding.ras_mm), "text": f"{number} {finding.code[:20]}".strip()}
        for number, finding in numbered
        if finding.ras_mm
    ]


def _read_findings(findings: Any) -> list[LabelFinding]:
    """Return findings of a ledger row, in which clients may have sent values of any type."""
    values = findings if isinstance(findings, list) else []
    return [_read_finding(value) for value in values[:FINDINGS_SHOWN]]


def _read_finding(finding: Any) -> LabelFinding:
    if not isinstance(finding, dict):
        return LabelFinding("", str(finding), "")
    code, reason, remedy = (str(finding.get(key) or "") for key in ("code", "reason", "remedy"))
    positions = _read_position(finding.get("ras_mm")), _read_position(finding.get("voxel"))
    return LabelFinding(code, reason or ("" if code else str(finding)), remedy, *positions)


def _read_position(numbers: Any) -> tuple[float, ...] | None:
    """Return three finite numbers, None for any other value: clients may send anything."""
    if not isinstance(numbers, list) or len(numbers) != 3:
        return None
    if not all(type(number) in (int, float) and abs(number) < 1e6 for number in numbers):
        return None
    return tuple(numbers)
