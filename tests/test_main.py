"""The command line: commands and their arguments, only JSON on standard output, and errors in one line."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.command import run
from tests.tasks.restoration.conftest import bones, scans_app, scans_starter

__all__ = ["bones", "scans_app", "scans_starter"]

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
    "simulate": ["APP", "--task", "--cases", "--out", "--strategies", "--seeds", "--person", "--rounds", "--batch"],
    "phantom": ["--count", "--seed", "--out", "--of", "--json"],
    "distil experiment": ["FILE", "--out", "--at-once", "--json"],
    "distil synthesise": ["APP", "--task", "--studies", "--count", "--seed", "--maps", "--set", "--json"],
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


@pytest.mark.parametrize("verb", VERBS)
def test_help_names_every_argument(verb: str) -> None:
    result = run(*verb.split(), "--help")
    assert result.exit_code == 0
    assert [word for word in VERBS[verb] if word not in result.stdout] == []


def test_validate_accepts_a_ct_and_refuses_text(tmp_path: Path) -> None:
    head = np.full((40, 40, 20), -1000, np.int16)
    head[8:32, 8:32] = 40
    nib.save(nib.Nifti1Image(head, np.diag([1.0, 1.0, 1.5, 1.0])), tmp_path / "good.nii.gz")
    (tmp_path / "bad.nii.gz").write_text("a text file with the name of an image")

    good, bad = (run("validate", tmp_path / name, "--json") for name in ("good.nii.gz", "bad.nii.gz"))
    assert good.exit_code == 0 and json.loads(good.stdout)["ok"]
    assert bad.exit_code == 1
    (finding,) = json.loads(bad.stdout)["files"][str(tmp_path / "bad.nii.gz")]
    assert finding["code"] == "NOT_AN_IMAGE" and finding["reason"] and finding["remedy"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("evaluate", ROOT / "apps/airway", "--task", "topowmamba"), "either --study"),
        (("train", ROOT / "apps/airway", "--task", "topowmamba"), "give --studies"),
        (("evaluate", ROOT / "apps/airway", "--task", "nonesuch", "--study", "head_ct"), "nonesuch"),
        (("ledger", "verify", ROOT / "tests"), "no app.toml"),
        (("ledger", "show", ROOT / "tests"), "no app.toml"),
        (("models", "show", ROOT / "apps/airway", "v9", "--task", "topowmamba"), "no version v9"),
        (("models", "promote", ROOT / "apps/airway", "../v9", "--task", "topowmamba"), "name has letters"),
        (("infer", ROOT / "tests", "--task", "t", "--image", "x.nii.gz", "--output", "y.nii.gz"), "app.toml"),
    ],
)
def test_a_failure_prints_one_line_and_exits_with_status_1(arguments: tuple, reason: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert reason in result.stderr and len(result.stderr.strip().splitlines()) == 1


def test_infer_restores_a_scan(scans_app: Path, scans_starter: Path, tmp_path: Path) -> None:
    made = run("phantom", "--of", "skeleton", "--count", "1", "--seed", "3", "--out", tmp_path / "scans", "--json")
    assert Path(json.loads(made.stdout)["picture"]).is_file()
    scan, out = tmp_path / "scans" / "skeleton_0000.nii.gz", tmp_path / "restored.nii.gz"
    answer = json.loads(run("infer", scans_app, "--task", "bones", "--image", scan, "--output", out, "--json").stdout)
    assert out.is_file()
    assert answer["expected"] == pytest.approx([2 * counts for counts in answer["recorded"]], rel=1e-4)
    assert run("phantom", "--of", "liver", "--count", "1", "--seed", "3", "--out", tmp_path).exit_code == 1


def test_set_without_a_value_is_refused(tmp_path: Path) -> None:
    result = run("train", ROOT / "apps/airway", "--task", "topowmamba", "--studies", tmp_path, "--set", "epochs")
    assert result.exit_code != 0 and "KEY=VALUE" in result.stderr
