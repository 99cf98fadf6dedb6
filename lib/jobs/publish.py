"""Change the served version of a task: by decision of the gate, by decision of an admin, or because it fails.

A decision is first written to the ledger, and then the aliases are set as the last row has them. So two processes that
decide at the same time end with the same aliases. If a process is killed between the two steps, the next call of
`apply_last_decision` sets the aliases.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lib.jobs.gate import HOLD, PUBLISH, Decision
from lib.records.card import hash_file
from lib.records.ledger import Ledger, Row, Writer
from lib.records.versions import CHALLENGER, CHAMPION, STARTER, Version, find_version, read_alias, set_alias

logger = logging.getLogger(__name__)

PROMOTE, ROLLBACK = "promote", "rollback"
ADMIN_REASON = "decided by an admin"
GATE, SERVER = "gate", "server"
"""Authors of automatic decisions, in the field ``by`` of a row."""


@dataclass(frozen=True)
class TaskVersions:
    """The versions of one task: their folder and the ledger of the app.

    Args:
        app_dir: Folder of the app.
        task: Name of the task.
        root: Folder of the versions of the task.
        ledger: Ledger of the app.
        starter: Whether the app came with weights for the task; they are served until a version is.
    """

    app_dir: Path
    task: str
    root: Path
    ledger: Ledger
    starter: bool = True

    @property
    def served(self) -> str:
        """Name of the served version; "starter" for the app's own weights, empty if nothing is served."""
        version = read_alias(self.root, CHAMPION)
        return version.name if version else STARTER if self.starter else ""

    @property
    def waiting(self) -> str:
        """Name of the version that waits for the decision of an admin; empty if there is none."""
        version = read_alias(self.root, CHALLENGER)
        return version.name if version else ""


def register(versions: TaskVersions, version: Version, facts: Mapping[str, Any] | None = None) -> None:
    """Add a version with the hashes of its files to the ledger, if the ledger lacks it.

    Args:
        versions: Versions of the task.
        version: Version to add.
        facts: Origin of the version: ``trained_on`` with the SHA-256 of image and label by case, and other facts.
    """
    files = {path.relative_to(versions.app_dir).as_posix(): hash_file(path) for path in sorted(version.path.iterdir())}
    with versions.ledger.writing() as writer:
        if _find_registration(writer.rows("version", versions.task), version.name) is None:
            writer.append("version", versions.task, {"version": version.name, **(facts or {}), "files": files})


def apply_last_decision(versions: TaskVersions) -> None:
    """Set the aliases as the last decision in the ledger has them; without a decision the aliases stay."""
    if not versions.ledger.rows("decision", versions.task):
        return
    with versions.ledger.writing() as writer:
        champion, challenger = _aliases(versions, writer.rows("decision", versions.task))
        for alias, present, name in ((CHAMPION, versions.served, champion), (CHALLENGER, versions.waiting, challenger)):
            if present != name:
                set_alias(versions.root, alias, None if name in (STARTER, "") else name)


def apply_decision(versions: TaskVersions, version: str, decision: Decision, *, compared_with: str) -> Decision:
    """Record a decision of the gate about a version and apply it: serve the version, hold it or reject it.

    Args:
        versions: Versions of the task.
        version: Name of the new version.
        decision: Decision of the gate.
        compared_with: Name of the version that was served when the new version was judged.
    Returns:
        The recorded decision. A publication becomes a hold if another version was put into service meanwhile.
    """
    with versions.ledger.writing() as writer:
        champion, challenger = _aliases(versions, writer.rows("decision", versions.task))
        if decision.verdict == PUBLISH and champion != compared_with:
            outdated = f"{champion} is served by now, but the comparison was with {compared_with or 'no version'}"
            decision = replace(decision, verdict=HOLD, reasons=(outdated, *decision.reasons))
        aliases = {PUBLISH: (version, ""), HOLD: (champion, version)}.get(decision.verdict, (champion, challenger))
        facts = {"reasons": list(decision.reasons), "figures": decision.figures, "by": GATE}
        _record_decision(writer, versions, decision.verdict, version, aliases, facts)
    apply_last_decision(versions)
    return decision


def find_gate_decision(versions: TaskVersions, name: str) -> Decision | None:
    """Return the decision of the gate about a version; None before the gate has decided."""
    for row in versions.ledger.rows("decision", versions.task):
        if row.body["version"] == name and row.body["by"] == GATE:
            return Decision(row.body["verdict"], tuple(row.body["reasons"]), row.body["figures"])
    return None


def promote(versions: TaskVersions, name: str, *, by: str = "", reason: str = ADMIN_REASON) -> str:
    """Serve a version by decision of an admin.

    Args:
        versions: Versions of the task.
        name: Name of the version.
        by: Name of the admin; empty if unknown.
        reason: Reason for the ledger.
    Returns:
        Name of the version that was served before.
    Raises:
        ValueError: If there is no such version, it is served already, or its files differ from the recorded hashes.
    """
    version = find_version(versions.root, name)
    register(versions, version)
    _check_files(versions, version)
    with versions.ledger.writing() as writer:
        champion, challenger = _aliases(versions, writer.rows("decision", versions.task))
        if name == champion:
            raise ValueError(f"{name} is served already")
        aliases = name, "" if challenger == name else challenger
        _record_decision(writer, versions, PROMOTE, name, aliases, {"reasons": [reason], "by": by})
    apply_last_decision(versions)
    return champion


def rollback(versions: TaskVersions, *, by: str = "", reason: str = ADMIN_REASON, failing: str = "") -> str:
    """Serve again the version that was served before the present champion.

    Args:
        versions: Versions of the task.
        by: Name of the admin, or `SERVER`.
        reason: Reason for the ledger.
        failing: For an automatic rollback, the name of the version that fails. If another version is served by now,
            nothing changes. Versions that the server rolled back earlier are skipped. Empty for an admin's rollback.
    Returns:
        Name of the version that is served now.
    Raises:
        ValueError: If no version was served before.
    """
    with versions.ledger.writing() as writer:
        rows = writer.rows("decision", versions.task)
        served, challenger = _aliases(versions, rows)
        if failing and served != failing:
            return served
        failed = {row.body["version"] for row in rows if row.body["verdict"] == ROLLBACK and row.body["by"] == SERVER}
        former = _find_former(rows, served, failed if failing else set())
        _record_decision(writer, versions, ROLLBACK, served, (former, challenger), {"reasons": [reason], "by": by})
    apply_last_decision(versions)
    logger.warning("%s: rolled back version %s, now serving %s: %s", versions.task, served, former, reason)
    return former


def rollback_target(versions: TaskVersions) -> str:
    """Return the name of the version that an admin's rollback would serve.

    Raises:
        ValueError: If no version was served before.
    """
    rows = versions.ledger.rows("decision", versions.task)
    return _find_former(rows, _aliases(versions, rows)[0], set())


def _aliases(versions: TaskVersions, rows: Sequence[Row]) -> tuple[str, str]:
    """Return champion and challenger of the last decision; the alias files may not be set to them yet."""
    return (rows[-1].body["champion"], rows[-1].body["challenger"]) if rows else (versions.served, versions.waiting)


def _record_decision(
    writer: Writer,
    versions: TaskVersions,
    verdict: str,
    version: str,
    aliases: tuple[str, str],
    facts: Mapping[str, Any],
) -> None:
    former = _aliases(versions, writer.rows("decision", versions.task))[0]
    names = {"champion": aliases[0], "challenger": aliases[1], "former": former}
    writer.append("decision", versions.task, {"verdict": verdict, "version": version, **names, **facts})


def _find_former(rows: Sequence[Row], served: str, failed: set[str]) -> str:
    """Return the last version that was served before `served` and has not failed."""
    seen = {served}
    steps = [row.body for row in rows if row.body["verdict"] in (PUBLISH, PROMOTE)]
    while True:
        formers = [step["former"] for step in steps if step["version"] == served]
        formers = [name for name in formers if name and name not in seen]
        if not formers:
            raise ValueError(f"nothing was served before {served}: promote another version instead")
        served = formers[-1]
        seen.add(served)
        if served not in failed:
            return served


def _check_files(versions: TaskVersions, version: Version) -> None:
    row = _find_registration(versions.ledger.rows("version", versions.task), version.name)
    assert row is not None, "`promote` registers the version before"
    for name, digest in row.body["files"].items():
        path = versions.app_dir / name
        if not path.is_file() or hash_file(path) != digest:
            raise ValueError(f"{name} is not as it was recorded (row {row.seq}): promote another version")


def _find_registration(rows: Sequence[Row], name: str) -> Row | None:
    return next((row for row in rows if row.body["version"] == name), None)
