"""Publication: every change is a decision in the ledger, the aliases follow it, and a rollback restores old weights."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from lib.jobs import publish
from lib.jobs.gate import HOLD, PUBLISH, REJECT, Decision
from lib.jobs.publish import (
    SERVER,
    TaskVersions,
    apply_decision,
    apply_last_decision,
    promote,
    register,
    rollback,
    rollback_target,
)
from lib.records.ledger import Ledger
from lib.records.verify import verify
from lib.records.versions import champion, find_version, write_version

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def versions(tmp_path: Path) -> TaskVersions:
    versions = TaskVersions(tmp_path, "tubes", tmp_path / "model" / "tubes", Ledger.of(tmp_path))
    for number in (1, 2, 3):
        write_version(
            versions.root, {"weight": torch.full((4,), float(number))}, {"value": float(number)}, name=f"v{number}"
        )
        register(versions, find_version(versions.root, f"v{number}"))
    return versions


def decide(versions: TaskVersions, version: str, verdict: str) -> Decision:
    return apply_decision(
        versions, version, Decision(verdict, (f"because of {version}",)), compared_with=versions.served
    )


def served_bytes(versions: TaskVersions) -> bytes:
    version = champion(versions.root)
    return version.weights_path.read_bytes() if version else b""


def last(versions: TaskVersions) -> dict:
    return versions.ledger.rows("decision", "tubes")[-1].body


def test_a_published_version_is_served(versions: TaskVersions) -> None:
    assert versions.served == "starter"
    decide(versions, "v1", PUBLISH)
    assert (versions.served, versions.waiting) == ("v1", "")
    body = last(versions)
    assert (body["verdict"], body["champion"], body["former"], body["by"]) == ("publish", "v1", "starter", "gate")
    assert body["reasons"] == ["because of v1"]


def test_a_rejected_version_changes_nothing_that_is_served(versions: TaskVersions) -> None:
    decide(versions, "v1", PUBLISH)
    before = served_bytes(versions)
    decide(versions, "v2", REJECT)
    assert served_bytes(versions) == before and (versions.served, versions.waiting) == ("v1", "")
    assert last(versions)["verdict"] == "reject" and last(versions)["version"] == "v2"


def test_a_held_version_waits_until_it_is_promoted(versions: TaskVersions) -> None:
    decide(versions, "v1", HOLD)
    assert (versions.served, versions.waiting) == ("starter", "v1")
    assert promote(versions, "v1", by="Anna") == "starter"
    assert (versions.served, versions.waiting) == ("v1", "") and last(versions)["by"] == "Anna"
    with pytest.raises(ValueError, match="v1 is served already"):
        promote(versions, "v1")


def test_a_publication_is_held_if_the_champion_changed_meanwhile(versions: TaskVersions) -> None:
    decide(versions, "v1", PUBLISH)
    decision = apply_decision(versions, "v2", Decision(PUBLISH, ("no worse",)), compared_with="starter")
    assert decision.verdict == HOLD and "v1 is served by now" in decision.reason
    assert (versions.served, versions.waiting) == ("v1", "v2")


def test_rollback_serves_the_former_bytes_back_to_the_starter(versions: TaskVersions) -> None:
    kept = {}
    for name in ("v1", "v2", "v3"):
        decide(versions, name, PUBLISH)
        kept[name] = served_bytes(versions)
    for name in ("v2", "v1"):
        assert rollback(versions, by="Anna") == name and served_bytes(versions) == kept[name]
    assert rollback(versions) == "starter" and champion(versions.root) is None
    with pytest.raises(ValueError, match="nothing was served before starter"):
        rollback(versions)


def test_rollback_target_is_the_version_that_a_rollback_serves(versions: TaskVersions) -> None:
    with pytest.raises(ValueError, match="nothing was served before starter"):
        rollback_target(versions)
    decide(versions, "v1", PUBLISH)
    decide(versions, "v2", PUBLISH)
    assert rollback_target(versions) == "v1" == rollback(versions) and rollback_target(versions) == "starter"


def test_without_a_starter_the_first_version_cannot_be_rolled_back(tmp_path: Path, versions: TaskVersions) -> None:
    bare = TaskVersions(versions.app_dir, versions.task, versions.root, versions.ledger, starter=False)
    decide(bare, "v1", PUBLISH)
    with pytest.raises(ValueError, match="nothing was served before v1"):
        rollback(bare)
    assert bare.served == "v1"


def test_a_failed_version_is_rolled_back_and_served_again_only_by_an_admin(versions: TaskVersions) -> None:
    for name in ("v1", "v2", "v3"):
        decide(versions, name, PUBLISH)
    assert rollback(versions, by=SERVER, reason="NaN", failing="v3") == "v2"
    assert rollback(versions, by=SERVER, reason="NaN", failing="v3") == "v2", (
        "a late alarm about v3 rolls back no other version"
    )
    assert last(versions)["reasons"] == ["NaN"] and len(versions.ledger.rows("decision")) == 4
    promote(versions, "v1")
    assert rollback(versions, by=SERVER, failing="v1") == "v2", "an admin replaced v2; it has not failed"
    assert rollback(versions, by=SERVER, failing="v2") == "starter", "v1 and v3 have failed"
    promote(versions, "v3")
    assert versions.served == "v3", "an admin may promote a version that failed"


def test_promotion_of_a_version_with_changed_files_is_refused(versions: TaskVersions) -> None:
    path = find_version(versions.root, "v1").weights_path
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match=r"v1/weights\.safetensors is not as it was recorded"):
        promote(versions, "v1")
    with pytest.raises(ValueError, match="there are: v1, v2, v3"):
        promote(versions, "v9")
    assert versions.served == "starter" and versions.ledger.rows("decision") == []


def test_promotion_registers_a_version_that_is_older_than_the_ledger(versions: TaskVersions) -> None:
    write_version(versions.root, {"weight": torch.zeros(1)}, {}, name="old")
    promote(versions, "old")
    assert versions.served == "old" and [row for row in versions.ledger.rows("version") if row.body["version"] == "old"]
    assert not verify(versions.app_dir).faults


def test_a_recorded_decision_of_a_killed_process_is_applied_later(
    versions: TaskVersions, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr(publish, "apply_last_decision", lambda _: None)
        decide(versions, "v1", PUBLISH)
        assert versions.served == "starter"
        decide(versions, "v2", HOLD)
    apply_last_decision(versions)
    assert (versions.served, versions.waiting) == ("v1", "v2"), "the later decision contains the earlier one"


def test_aliases_stay_without_a_decision(versions: TaskVersions) -> None:
    publish.set_alias(versions.root, "champion", "v2")
    apply_last_decision(versions)
    assert versions.served == "v2"


def test_threads_that_decide_at_once_agree_with_the_ledger(versions: TaskVersions) -> None:
    def flip(name: str) -> None:
        for _ in range(10):
            decide(versions, name, PUBLISH)

    threads = [threading.Thread(target=flip, args=(name,)) for name in ("v1", "v2", "v3")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    apply_last_decision(versions)
    assert versions.served == last(versions)["champion"] and versions.ledger.verify() == []
    assert len(versions.ledger.rows("decision")) == 30


def test_killed_publishers_leave_one_complete_version_and_an_intact_ledger(versions: TaskVersions) -> None:
    command = [sys.executable, "-m", "tests.jobs.publishers", str(versions.app_dir), "25", "3"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True, timeout=120)
    assert len(versions.ledger.rows("decision")) >= 25, "at least one decision per round"
