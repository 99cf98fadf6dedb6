"""The labels saved last, with what was found about them."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from lib.records.labels import PREDICTED, REMOVED
from lib.records.ledger import Ledger, Row

WINDOW_ROWS = 5000
"""Rows at the ledger's end that the pages look at: a page takes milliseconds, however long the ledger is."""
FINDINGS_SHOWN = 12
_known: WeakKeyDictionary[Ledger, list[Row]] = WeakKeyDictionary()
_reading = threading.Lock()


@dataclass(frozen=True)
class Remark:
    """One finding about a label: a code, the reason, what to do and, where the check of labels made it, the place.

    Args:
        code: Its kind.
        reason: What was found.
        remedy: What to do about it.
        ras_mm: Where, towards right, front and head, in mm; None if it has no place.
        voxel: Where, in the file's order of axes.
    """

    code: str
    reason: str
    remedy: str
    ras_mm: tuple[float, ...] | None = None
    voxel: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Saved:
    """A label that was saved.

    Args:
        row: Its row of the ledger.
        remarks: What was found about it.
    """

    row: Row
    remarks: Sequence[Remark]

    @property
    def digest(self) -> str:
        """SHA-256 of the label; empty for one that was removed."""
        return str(self.row.body.get("label") or "")

    @property
    def removed(self) -> bool:
        """Whether the row says that the label was taken away."""
        return self.row.body.get("source") == REMOVED


def window(ledger: Ledger) -> list[Row]:
    """Return the label rows among the ledger's last ones, oldest first; each is read once, for rows never change."""
    with _reading:
        last, known = ledger.last(), _known.get(ledger, [])
        oldest = last - WINDOW_ROWS
        # A ledger that ends before what is known is another one in its place.
        kept = [row for row in known if row.seq > oldest] if not known or known[-1].seq <= last else []
        after = kept[-1].seq if kept else max(0, oldest)
        _known[ledger] = kept + ledger.rows("label", after=after)
        return _known[ledger]


def saved(rows: Sequence[Row], *, before: int = 0, count: int, only_found: bool = False) -> list[Saved]:
    """Return labels that people saved, newest first.

    Args:
        rows: Label rows, oldest first.
        before: Only those before that row; 0 for the newest.
        count: So many at most.
        only_found: Only those with findings.
    """
    chosen = []
    for row in reversed(rows):
        if (before and row.seq >= before) or row.body.get("source") == PREDICTED:
            continue
        remarks = _remarks(row.body.get("findings"))
        if remarks or not only_found:
            chosen.append(Saved(row, remarks))
        if len(chosen) == count:
            break
    return chosen


def find(ledger: Ledger, image: str, digest: str) -> Row | None:
    """Return the newest row of a label of an image, None if the ledger knows no such label."""
    rows = [row for row in ledger.rows("label", image) if row.body.get("label") == digest]
    return rows[-1] if rows else None


def spots(row: Row) -> list[dict[str, Any]]:
    """Return the places of a label's findings, under the numbers that a list of them has.

    Args:
        row: Its row of the ledger.
    Returns:
        ``{"ras_mm": [x, y, z], "text": "3 BREAK"}`` each.
    """
    told = enumerate(_remarks(row.body.get("findings")), start=1)
    return [{"ras_mm": list(each.ras_mm), "text": f"{n} {each.code[:20]}".strip()} for n, each in told if each.ras_mm]


def _remarks(findings: Any) -> list[Remark]:
    """Return findings as clients tell them: as the input gate's, or as any text."""
    told = findings if isinstance(findings, list) else []
    return [_remark(each) for each in told[:FINDINGS_SHOWN]]


def _remark(finding: Any) -> Remark:
    if not isinstance(finding, dict):
        return Remark("", str(finding), "")
    code, reason, remedy = (str(finding.get(key) or "") for key in ("code", "reason", "remedy"))
    places = _three(finding.get("ras_mm")), _three(finding.get("voxel"))
    return Remark(code, reason or ("" if code else str(finding)), remedy, *places)


def _three(numbers: Any) -> tuple[float, ...] | None:
    """Return three finite numbers; whoever submits a label may tell anything."""
    if not isinstance(numbers, list) or len(numbers) != 3:
        return None
    if not all(type(each) in (int, float) and abs(each) < 1e6 for each in numbers):
        return None
    return tuple(numbers)
