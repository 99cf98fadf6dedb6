import json
from pathlib import Path

import pytest

from tests.command import run


def test_ledger_verify_lists_the_faults(app: Path) -> None:
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
    ("where", "at", "expected"),
    [
        ("records/ledger.db", b"found", "row 1 (label ct) does not match its hash"),
        ("records/labels/ct/*.nii.gz", b"mag", "label version records/labels/ct/"),
        ("model/topowmamba/versions/v2/weights.safetensors", b"", "model version model/topowmamba/versions/v2/weights"),
    ],
)
def test_ledger_verify_reports_one_flipped_byte(app: Path, where: str, at: bytes, expected: str) -> None:
    (path,) = app.glob(where)
    data = bytearray(path.read_bytes())
    place = data.find(at) if at else len(data) // 2
    assert place >= 0
    data[place] ^= 1
    path.write_bytes(data)
    result = run("ledger", "verify", app)
    assert result.exit_code == 1 and expected in result.stdout, result.stdout
    assert result.stderr.startswith("error: ") and len(result.stderr.strip().splitlines()) == 1


def test_ledger_show_lists_rows_and_the_models_of_a_label(app: Path) -> None:
    shown = json.loads(run("ledger", "show", app, "--last", "2", "--json").stdout)
    assert shown["of"] == 4 and [row["seq"] for row in shown["rows"]] == [3, 4]
    (row,) = json.loads(run("ledger", "show", app, "--kind", "label", "--json").stdout)["rows"]
    assert row["subject"] == "ct" and "subject: ct" in run("ledger", "show", app, "--kind", "label").stdout
    found = json.loads(run("ledger", "show", app, "--label", row["body"]["label"], "--json").stdout)["models"]
    assert [model["version"] for model in found] == ["v1", "v2"]
