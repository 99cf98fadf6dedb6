"""The command line: verbs and arguments of the design's table, JSON alone on standard output, one-line reasons."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from lib.__main__ import cli
from lib.jobs.gate import PUBLISH, Decision
from lib.jobs.publish import carry_out, register
from lib.jobs.queue.broker import Queue
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.records.versions import find_version, write_version
from lib.tasks.spec import load_app
from lib.tasks.weights import build_network, shelf

ROOT = Path(__file__).resolve().parents[1]
VERBS = {
    "serve": ["APP", "--studies", "--host", "--port", "--users", "--oidc", "--audience", "--open"],
    "users add": ["FILE", "NAME", "--role", "--json"],
    "users remove": ["FILE", "NAME", "--json"],
    "users list": ["FILE", "--json"],
    "infer": ["APP", "--task", "--image", "--output", "--json"],
    "train": ["APP", "--task", "--studies", "--set", "--json"],
    "evaluate": ["APP", "--task", "--study", "--images", "--labels", "--json"],
    "export": ["APP", "--task", "--out", "--int8", "--json"],
    "validate": ["FILE", "--json"],
    "scores": ["APP", "--task", "--studies", "--json"],
    "phantom": ["--count", "--seed", "--out", "--json"],
    "jobs list": ["APP", "--last", "--json"],
    "jobs show": ["APP", "JOB", "--json"],
    "jobs stop": ["APP", "JOB", "--json"],
    "jobs work": ["APP", "--studies"],
    "models list": ["APP", "--task", "--json"],
    "models show": ["APP", "VERSION", "--task", "--json"],
    "models promote": ["APP", "VERSION", "--task", "--by", "--json"],
    "models rollback": ["APP", "--task", "--by", "--json"],
    "ledger verify": ["APP", "--studies", "--json"],
    "ledger show": ["APP", "--kind", "--subject", "--label", "--last", "--json"],
}


def run(*arguments: str | Path):
    return CliRunner(env={"COLUMNS": "200"}).invoke(cli, [str(argument) for argument in arguments])


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_argument(verb: str) -> None:
    result = run(*verb.split(), "--help")
    assert result.exit_code == 0
    assert [word for word in VERBS[verb] if word not in result.stdout] == []


def test_users_are_added_listed_and_removed_and_no_password_is_an_argument(tmp_path: Path) -> None:
    file = tmp_path / "users.toml"
    asked = CliRunner().invoke(
        cli, ["users", "add", str(file), "anna", "--role", "reviewer", "--json"], input="a long password\n" * 2
    )
    assert asked.exit_code == 0 and json.loads(asked.stdout)["role"] == "reviewer"
    assert "a long password" not in asked.output + file.read_text()
    assert json.loads(run("users", "list", file, "--json").stdout) == {"users": {"anna": "reviewer"}}
    assert run("users", "add", file, "ben", "--password", "x").exit_code == 2
    assert run("users", "remove", file, "anna").exit_code == 0 and run("users", "remove", file, "anna").exit_code == 1


def test_a_short_password_or_an_unknown_role_is_refused(tmp_path: Path) -> None:
    for arguments, password, reason in (
        ([], "short", "characters"),
        (["--role", "root"], "a long password", "no role"),
    ):
        command = ["users", "add", str(tmp_path / "users.toml"), "anna", *arguments]
        refused = CliRunner().invoke(cli, command, input=f"{password}\n" * 2)
        assert refused.exit_code == 1 and reason in refused.output and not list(tmp_path.iterdir())


def test_validate_accepts_a_ct_and_refuses_text(tmp_path: Path) -> None:
    head = np.full((40, 40, 20), -1000, np.int16)
    head[8:32, 8:32] = 40
    nib.save(nib.Nifti1Image(head, np.diag([1.0, 1.0, 1.5, 1.0])), tmp_path / "good.nii.gz")
    (tmp_path / "bad.nii.gz").write_text("a text file, called an image")

    good, bad = (run("validate", tmp_path / name, "--json") for name in ("good.nii.gz", "bad.nii.gz"))
    assert good.exit_code == 0 and json.loads(good.stdout)["ok"]
    assert bad.exit_code == 1
    (finding,) = json.loads(bad.stdout)["files"][str(tmp_path / "bad.nii.gz")]
    assert finding["code"] == "NOT_AN_IMAGE" and finding["reason"] and finding["remedy"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("evaluate", ROOT / "apps/airway", "--task", "topowmamba"), "either --study"),
        (("evaluate", ROOT / "apps/airway", "--task", "nonesuch", "--study", "head_ct"), "nonesuch"),
        (("ledger", "verify", ROOT / "tests"), "no app.toml"),
        (("ledger", "show", ROOT / "tests"), "no app.toml"),
        (("models", "show", ROOT / "apps/airway", "v9", "--task", "topowmamba"), "no version v9"),
        (("models", "promote", ROOT / "apps/airway", "../v9", "--task", "topowmamba"), "name has letters"),
        (("infer", ROOT / "tests", "--task", "t", "--image", "x.nii.gz", "--output", "y.nii.gz"), "app.toml"),
    ],
)
def test_failure_is_one_line_and_a_status(arguments: tuple, reason: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert reason in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_set_takes_pairs_only(tmp_path: Path) -> None:
    result = run("train", ROOT / "apps/airway", "--task", "topowmamba", "--studies", tmp_path, "--set", "epochs")
    assert result.exit_code != 0 and "KEY=VALUE" in result.stderr


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app with one label in its ledger and two versions, the first one served."""
    folder, image = tmp_path / "app", tmp_path / "ct.nii.gz"
    folder.mkdir()
    (folder / "app.toml").write_text((ROOT / "apps/airway/app.toml").read_text())
    image.write_bytes(b"image")
    labels = LabelVersions(folder, Ledger.of(folder))
    labels.adopt("ct", image, "final", image)
    task = load_app(folder).task("topowmamba")
    place, digest = shelf(folder, task), labels.hash(image)
    for name in ("v1", "v2"):
        write_version(place.root, build_network(task).state_dict(), {}, name=name)
        facts = {"trained_on": {"ct": {"image": digest, "label": digest}}}
        register(place, find_version(place.root, name), facts)
    carry_out(place, "v1", Decision(PUBLISH, ("no worse",)), against="")
    return folder


def test_ledger_verifies_and_names_what_does_not_match(app: Path) -> None:
    good = run("ledger", "verify", app, "--json")
    assert good.exit_code == 0 and json.loads(good.stdout) == {"ok": True, "rows": 4, "files": 5, "faults": []}
    assert "4 rows and 5 files are as they were recorded" in run("ledger", "verify", app).stdout
    path = app / "model" / "topowmamba" / "versions" / "v1" / "card.json"
    path.write_text("[]")
    bad = run("ledger", "verify", app, "--json")
    assert bad.exit_code == 1 and len(bad.stderr.strip().splitlines()) == 1
    (fault,) = json.loads(bad.stdout)["faults"]
    assert "model/topowmamba/versions/v1/card.json" in fault and fault in run("ledger", "verify", app).stdout


@pytest.mark.parametrize(
    ("where", "at", "says"),
    [
        ("records/ledger.db", b"found", "row 1 (label ct) does not match its hash"),
        ("records/labels/ct/*.nii.gz", b"mag", "label version records/labels/ct/"),
        ("model/topowmamba/versions/v2/weights.safetensors", b"", "model version model/topowmamba/versions/v2/weights"),
    ],
)
def test_one_flipped_byte_is_named_by_the_command(app: Path, where: str, at: bytes, says: str) -> None:
    (path,) = app.glob(where)
    data = bytearray(path.read_bytes())
    place = data.find(at) if at else len(data) // 2
    assert place >= 0
    data[place] ^= 1
    path.write_bytes(data)
    told = run("ledger", "verify", app)
    assert told.exit_code == 1 and says in told.stdout, told.stdout
    assert told.stderr.startswith("error: ") and len(told.stderr.strip().splitlines()) == 1


def test_jobs_are_told_to_a_person(app: Path) -> None:
    """How far, how long yet, what waits where; and a stop that is one."""
    queue = Queue(app)
    running, waiting = (queue.submit("train", "topowmamba", {"model": "topowmamba"}, origin="Anna") for _ in range(2))
    queue.jobs.claim(running.id)
    queue.jobs.tell(running.id, {"fraction": 0.25, "text": "epoch 1/4, 0:03:00 left", "eta_seconds": 180.0})
    told = run("jobs", "list", app).stdout
    assert "epoch 1/4, 0:03:00 left" in told and "origin: Anna" in told and "position: 1" in told and "None" not in told
    ours, theirs = json.loads(run("jobs", "list", app, "--json").stdout)["jobs"]
    assert (ours["status"], ours["progress"]["eta_seconds"], ours["position"]) == ("RUNNING", 180.0, None)
    assert (theirs["status"], theirs["position"]) == ("SUBMITTED", 1)
    queue.log(running).parent.mkdir(parents=True)
    queue.log(running).write_text("one line\nanother\n")
    assert "log:\n  - one line\n  - another" in run("jobs", "show", app, running.id[:8]).stdout
    assert json.loads(run("jobs", "stop", app, waiting.id, "--json").stdout)["status"] == "STOPPED"
    again = run("jobs", "stop", app, waiting.id)
    assert again.exit_code == 1 and "is over: STOPPED" in again.stderr


def test_ledger_shows_rows_and_the_models_of_a_label(app: Path) -> None:
    shown = json.loads(run("ledger", "show", app, "--last", "2", "--json").stdout)
    assert shown["of"] == 4 and [row["seq"] for row in shown["rows"]] == [3, 4]
    (row,) = json.loads(run("ledger", "show", app, "--kind", "label", "--json").stdout)["rows"]
    assert row["subject"] == "ct" and "subject: ct" in run("ledger", "show", app, "--kind", "label").stdout
    found = json.loads(run("ledger", "show", app, "--label", row["body"]["label"], "--json").stdout)["models"]
    assert [each["version"] for each in found] == ["v1", "v2"]


def test_models_are_listed_shown_promoted_and_rolled_back(app: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lib.tasks.models.mirror", lambda *_: None)
    task = ("--task", "topowmamba", "--json")
    assert json.loads(run("models", "list", app, "--json").stdout)["topowmamba"]["served"] == "v1"
    assert json.loads(run("models", "show", app, "v1", *task).stdout)["labels"][0]["case"] == "ct"
    promoted = json.loads(run("models", "promote", app, "v2", "--by", "Anna", *task).stdout)
    assert (promoted["served"], promoted["before"]) == ("v2", "v1")
    assert json.loads(run("models", "rollback", app, *task).stdout)["served"] == "v1"
    again = run("models", "rollback", app, *task)
    assert again.exit_code == 1 and "nothing was served before v1" in again.stderr
    assert "v2:" in run("models", "list", app).stdout
