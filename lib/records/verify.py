"""Verify the ledger: its hash chain, and the content of every file that it names."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lib.data.cases import find_cases
from lib.records.card import hash_file
from lib.records.database import LedgerUnavailable
from lib.records.ledger import UNREADABLE, Ledger, Row


@dataclass(frozen=True)
class Verdict:
    """Result of a verification.

    Args:
        rows: Number of rows of the ledger.
        files: Number of different files that the rows name.
        faults: One sentence for each fault; empty if there is none.
    """

    rows: int
    files: int
    faults: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the result as a JSON object."""
        return {"ok": not self.faults, **asdict(self)}


def verify(app_dir: str | Path, studies: str | Path | None = None) -> Verdict:
    """Recompute the ledger's chain and the hash of every label version and model version.

    Args:
        app_dir: Folder of the app.
        studies: Folder of studies whose final labels are compared with the newest recorded ones; None for no check.
    """
    app_dir, ledger = Path(app_dir), Ledger.of(app_dir)
    faults = ledger.verify()
    try:
        rows = ledger.rows()
    except LedgerUnavailable as error:
        is_reported = any(fault.startswith(UNREADABLE) for fault in faults)
        return Verdict(0, 0, faults if is_reported else [*faults, str(error.strerror or error)])
    named = {(name, digest): row for row in rows for name, digest in row.body.get("files", {}).items()}
    faults += [fault for (name, digest), row in named.items() if (fault := _check_file(app_dir, name, digest, row))]
    return Verdict(len(rows), len(named), faults + (_check_final_labels(Path(studies), rows) if studies else []))


def _check_file(app_dir: Path, name: str, digest: str, row: Row) -> str:
    file = (
        f"{row.kind} version {name} (row {row.seq})" if row.kind == "label" else f"model version {name} (row {row.seq})"
    )
    try:
        found = hash_file(app_dir / name)
    except FileNotFoundError:
        return f"{file} is missing"
    except OSError as error:
        return f"{file} cannot be read: {error.strerror}"
    return "" if found == digest else f"{file} is not as it was recorded"


def _check_final_labels(studies: Path, rows: list[Row]) -> list[str]:
    """Return one sentence for each final label that differs from the newest recorded one of the same image."""
    newest = {row.subject: row for row in rows if row.kind == "label" and row.body["tag"] == "final"}
    faults = []
    for case in find_cases(studies):
        row = newest.get(case.id)
        if row is None or row.body.get("image") not in (None, hash_file(case.image)):
            continue  # no label is recorded, or the row is about another image of that name
        expected = row.body.get("label")
        if expected is None and case.label:
            faults.append(f"the final label of {case.id} was removed (row {row.seq}), but its file exists")
        elif expected and case.label is None:
            faults.append(f"the final label of {case.id} (row {row.seq}) is missing")
        elif expected and case.label and hash_file(case.label) != expected:
            faults.append(f"the final label of {case.id} differs from the label of row {row.seq}")
    return faults
