"""Change which version is served: by the gate's decision, by the admin's word, or because it fails.

A decision is a row of the ledger, and the aliases follow the last row. So two who decide at once agree in the end, and
who is killed between the two leaves a row that the next one carries out.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib.jobs.gate import HOLD, PUBLISH, Decision
from lib.records.card import hash_file
from lib.records.ledger import Ledger, Row, Writer
from lib.records.versions import CHALLENGER, CHAMPION, STARTER, Version, aliased, find_version, set_alias

logger = logging.getLogger(__name__)

PROMOTE, ROLLBACK = "promote", "rollback"
GATE, SERVER = "gate", "server"
"""Who decides where no person does."""


@dataclass(frozen=True)
class Shelf:
    """The versions of one task.

    Args:
        app_dir: The app's folder.
        task: The task's name.
        root: Folder of its versions.
        ledger: The app's ledger.
        starter: Whether weights came with the app, to serve where no version is.
    """

    app_dir: Path
    task: str
    root: Path
    ledger: Ledger
    starter: bool = True

    @property
    def served(self) -> str:
        """Name of the version that is served, "starter", or empty if there is nothing to serve."""
        version = aliased(self.root, CHAMPION)
        return version.name if version else STARTER if self.starter else ""

    @property
    def waiting(self) -> str:
        """Name of the version that awaits the admin's word; empty if none does."""
        version = aliased(self.root, CHALLENGER)
        return version.name if version else ""


def register(shelf: Shelf, version: Version, facts: Mapping[str, Any] | None = None) -> None:
    """Write a version into the ledger with the hashes of its files, if it is not there yet.

    Args:
        shelf: Where it stands.
        version: A whole version.
        facts: What it was made of: ``trained_on`` by case with the SHA-256 of image and label, and anything else.
    """
    files = {path.relative_to(shelf.app_dir).as_posix(): hash_file(path) for path in sorted(version.path.iterdir())}
    with shelf.ledger.writing() as writer:
        if _registered(writer.rows("version", shelf.task), version.name) is None:
            writer.append("version", shelf.task, {"version": version.name, **(facts or {}), "files": files})


def settle(shelf: Shelf) -> None:
    """Make the aliases what the last decision says; without any decision they stay as they are."""
    if not shelf.ledger.rows("decision", shelf.task):
        return
    with shelf.ledger.writing() as writer:
        champion, challenger = _aliases(shelf, writer.rows("decision", shelf.task))
        for alias, present, name in ((CHAMPION, shelf.served, champion), (CHALLENGER, shelf.waiting, challenger)):
            if present != name:
                set_alias(shelf.root, alias, None if name in (STARTER, "") else name)


def carry_out(shelf: Shelf, version: str, decision: Decision, *, against: str) -> Decision:
    """Do what the gate decided about a version: serve it, let it wait, or leave it where it is.

    Args:
        shelf: The task's versions.
        version: The new one.
        decision: The gate's.
        against: What was served when it was judged.
    Returns:
        The decision; to hold where another version is served by now, which it was not compared with.
    """
    with shelf.ledger.writing() as writer:
        champion, challenger = _aliases(shelf, writer.rows("decision", shelf.task))
        if decision.verdict == PUBLISH and champion != against:
            late = f"{champion} is served by now, and the comparison was with {against or 'nothing'}"
            decision = replace(decision, verdict=HOLD, reasons=(late, *decision.reasons))
        aliases = {PUBLISH: (version, ""), HOLD: (champion, version)}.get(decision.verdict, (champion, challenger))
        facts = {"reasons": list(decision.reasons), "figures": decision.figures, "by": GATE}
        _decide(writer, shelf, decision.verdict, version, aliases, facts)
    settle(shelf)
    return decision


def decision_about(shelf: Shelf, name: str) -> Decision | None:
    """Return what the gate decided about a version, None if it has not yet."""
    for row in shelf.ledger.rows("decision", shelf.task):
        if row.body["version"] == name and row.body["by"] == GATE:
            return Decision(row.body["verdict"], tuple(row.body["reasons"]), row.body["figures"])
    return None


def promote(shelf: Shelf, name: str, *, by: str = "", reason: str = "the admin's word") -> str:
    """Serve a version by a person's word.

    Returns:
        The version served before.
    Raises:
        ValueError: If there is no such version, it is served already, or its files are not as they were recorded.
    """
    version = find_version(shelf.root, name)
    register(shelf, version)
    _check_files(shelf, version)
    with shelf.ledger.writing() as writer:
        champion, challenger = _aliases(shelf, writer.rows("decision", shelf.task))
        if name == champion:
            raise ValueError(f"{name} is served already")
        aliases = name, "" if challenger == name else challenger
        _decide(writer, shelf, PROMOTE, name, aliases, {"reasons": [reason], "by": by})
    settle(shelf)
    return champion


def rollback(shelf: Shelf, *, by: str = "", reason: str = "the admin's word", failing: str = "") -> str:
    """Serve what was served before the present champion.

    Args:
        shelf: The task's versions.
        by: Who wants it.
        reason: Why.
        failing: The version that fails: nothing is done if another one is served by now, and no version goes into
            service again that once failed.
    Returns:
        What is served now.
    Raises:
        ValueError: If nothing was served before.
    """
    with shelf.ledger.writing() as writer:
        rows = writer.rows("decision", shelf.task)
        served, challenger = _aliases(shelf, rows)
        if failing and served != failing:
            return served
        shunned = {row.body["version"] for row in rows if row.body["verdict"] == ROLLBACK and row.body["by"] == SERVER}
        former = _former(rows, served, shunned if failing else set())
        _decide(writer, shelf, ROLLBACK, served, (former, challenger), {"reasons": [reason], "by": by})
    settle(shelf)
    logger.warning("%s: version %s is taken back, %s is served: %s", shelf.task, served, former, reason)
    return former


def rollback_target(shelf: Shelf) -> str:
    """Return what a rollback would serve.

    Raises:
        ValueError: If nothing was served before.
    """
    rows = shelf.ledger.rows("decision", shelf.task)
    return _former(rows, _aliases(shelf, rows)[0], set())


def _aliases(shelf: Shelf, rows: Sequence[Row]) -> tuple[str, str]:
    """Return champion and challenger as the last decision has them, which may not be carried out yet."""
    return (rows[-1].body["champion"], rows[-1].body["challenger"]) if rows else (shelf.served, shelf.waiting)


def _decide(
    writer: Writer, shelf: Shelf, verdict: str, version: str, aliases: tuple[str, str], facts: Mapping[str, Any]
) -> None:
    former = _aliases(shelf, writer.rows("decision", shelf.task))[0]
    names = {"champion": aliases[0], "challenger": aliases[1], "former": former}
    writer.append("decision", shelf.task, {"verdict": verdict, "version": version, **names, **facts})


def _former(rows: Sequence[Row], served: str, shunned: set[str]) -> str:
    """Return what was served before a version came into service, and before that, until one is not shunned."""
    seen = {served}
    steps = [row.body for row in rows if row.body["verdict"] in (PUBLISH, PROMOTE)]
    while True:
        came = [step["former"] for step in steps if step["version"] == served]
        came = [name for name in came if name and name not in seen]
        if not came:
            raise ValueError(f"nothing was served before {served}: promote another version instead")
        served = came[-1]
        seen.add(served)
        if served not in shunned:
            return served


def _check_files(shelf: Shelf, version: Version) -> None:
    row = _registered(shelf.ledger.rows("version", shelf.task), version.name)
    assert row is not None, "it was registered a moment ago"
    for name, digest in row.body["files"].items():
        path = shelf.app_dir / name
        if not path.is_file() or hash_file(path) != digest:
            raise ValueError(f"{name} is not as it was recorded (row {row.seq}): promote another version")


def _registered(rows: Sequence[Row], name: str) -> Row | None:
    return next((row for row in rows if row.body["version"] == name), None)
