"""Whether what the ledger says is still so: its chain, and the bytes of every file that it names."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from lib.data.cases import find_cases
from lib.records.card import hash_file
from lib.records.engine import LedgerUnavailable
from lib.records.ledger import UNREADABLE, Ledger, Row


@dataclass(frozen=True)
class Verdict:
    """What a verification found.

    Args:
        rows: Rows of the ledger.
        files: Different files that they name.
        faults: What does not match, one sentence each; empty where all is well.
    """

    rows: int
    files: int
    faults: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON can say it."""
        return {"ok": not self.faults, **asdict(self)}


def verify(app_dir: str | Path, studies: str | Path | None = None) -> Verdict:
    """Recompute the ledger's chain and the hash of every label version and model version.

    Args:
        app_dir: The app's folder.
        studies: A folder of studies whose final labels must be the ones recorded last.
    """
    app_dir, ledger = Path(app_dir), Ledger.of(app_dir)
    faults = ledger.verify()
    try:
        rows = ledger.rows()
    except LedgerUnavailable as error:
        told = any(fault.startswith(UNREADABLE) for fault in faults)
        return Verdict(0, 0, faults if told else [*faults, str(error.strerror or error)])
    named = {(name, digest): row for row in rows for name, digest in row.body.get("files", {}).items()}
    faults += [fault for (name, digest), row in named.items() if (fault := _fault(app_dir, name, digest, row))]
    return Verdict(len(rows), len(named), faults + (_finals(Path(studies), rows) if studies else []))


def _fault(app_dir: Path, name: str, digest: str, row: Row) -> str:
    what = (
        f"{row.kind} version {name} (row {row.seq})" if row.kind == "label" else f"model version {name} (row {row.seq})"
    )
    try:
        found = hash_file(app_dir / name)
    except FileNotFoundError:
        return f"{what} is missing"
    except OSError as error:
        return f"{what} cannot be read: {error.strerror}"
    return "" if found == digest else f"{what} is not as it was recorded"


def _finals(studies: Path, rows: list[Row]) -> list[str]:
    """Return the final labels of a folder that are not the ones recorded last for the same image."""
    newest = {row.subject: row for row in rows if row.kind == "label" and row.body["tag"] == "final"}
    faults = []
    for case in find_cases(studies):
        row = newest.get(case.id)
        if row is None or row.body.get("image") not in (None, hash_file(case.image)):
            continue  # nothing was ever recorded, or it was for another study of that name
        expected = row.body.get("label")
        if expected is None and case.label:
            faults.append(f"the final label of {case.id} was removed (row {row.seq}), and is there")
        elif expected and case.label is None:
            faults.append(f"the final label of {case.id} (row {row.seq}) is missing")
        elif expected and case.label and hash_file(case.label) != expected:
            faults.append(f"the final label of {case.id} is not the one of row {row.seq}")
    return faults
