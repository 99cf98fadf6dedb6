"""Check the labels of cases before a training uses them, and keep the copies that it uses."""

import filecmp
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from lib.data.cases import Case
from lib.data.findings import Finding, InputRejected
from lib.data.formats import SUFFIXES, stem
from lib.data.labels.coverage import parse_covered
from lib.records.label_checks import LabelCheck
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.records.split import HELD_OUT, FrozenSplit
from lib.tasks.kinds import found_label_check
from lib.tasks.spec import AppSpec, load_app
from lib.tasks.store.final_labels import FINAL
from lib.tasks.store.label_check import FoundLabelCheck, several_labels

logger = logging.getLogger(__name__)


def check_cases(app: AppSpec, labels: LabelVersions, cases: Iterable[Case]) -> list[Case]:
    """Return the cases with kept copies of their labels; a case whose label cannot be used has no label.

    The copies have the values and the grid of the app, and later submissions do not change them. What they cover is
    what the ledger says: a class that was added after a label is not covered by it.

    Args:
        app: The app, whose first task says how labels are checked.
        labels: Keeps the copies and records them.
        cases: Cases with labels from any program.
    """
    check, folders = found_label_check(labels.app_dir, app), dict[Path, dict[str, list[Path]]]()
    kept = [replace(case, label=_kept(case, check, labels, folders)) for case in cases]
    return [replace(case, covered=labels.covered(case.id, FINAL) if case.label else None) for case in kept]


def held_out_cases(app_dir: str | Path, studies: str | Path) -> list[Case]:
    """Return the labelled cases of a folder whose patients are held out.

    Raises:
        ValueError: If no patient is held out yet.
    """
    app = load_app(app_dir)
    labels = LabelVersions(app_dir, Ledger.of(app_dir), app.tasks[0].labels)
    cases = check_cases(app, labels, app.find_cases(studies))
    split = FrozenSplit(labels.ledger, held_out_patients=app.held_out_patients, hash_image=labels.hash)
    parts = split.parts([case for case in cases if case.label])
    if not (held := [case for case in cases if parts.get(case.id) == HELD_OUT]):
        raise ValueError("no patient is held out yet: train the task first, or give --images DIR and --labels DIR")
    return held


def _kept(
    case: Case, check: FoundLabelCheck, labels: LabelVersions, folders: dict[Path, dict[str, list[Path]]]
) -> Path | None:
    """Return the copy of the label of a case; None without a label that can be used."""
    if case.label is None:
        return None
    if case.label.parent not in folders:
        folders[case.label.parent] = _by_stem(case.label.parent)
    files = folders[case.label.parent].get(stem(case.label), [case.label])
    known = check.find(case.image, files)
    if known is None and len(files) > 1:
        known = LabelCheck("", several_labels(case.id, files))
    if known is not None:
        if known.finding:
            return _leave_out(case, known.finding)
        covered = parse_covered(case.covered, labels.values)
        return labels.ensure_recorded(case.id, case.image, FINAL, case.label, covered)
    facts = check.facts(case.image, files)
    try:
        with check.checked_copy(case.image, case.label) as copy:
            is_same = filecmp.cmp(case.label, copy, shallow=False)
            label, covered = case.label if is_same else copy, parse_covered(case.covered, labels.values)
            kept = labels.ensure_recorded(case.id, case.image, FINAL, label, covered)
    except InputRejected as rejected:
        check.put(files, LabelCheck(facts, rejected.findings[0]))
        return _leave_out(case, rejected.findings[0])
    if is_same:
        check.put(files, LabelCheck(facts))
    return kept


def _leave_out(case: Case, finding: Finding) -> None:
    logger.warning("%s: its label is not used: %s %s %s", case.id, finding.code, finding.reason, finding.remedy)


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        if path.name[0] != "." and path.name.lower().endswith(SUFFIXES):
            found.setdefault(stem(path), []).append(path)
    return found
