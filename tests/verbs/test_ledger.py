import json
from pathlib import Path

import pytest

from tests.command import run


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


def test_ledger_shows_rows_and_the_models_of_a_label(app: Path) -> None:
    shown = json.loads(run("ledger", "show", app, "--last", "2", "--json").stdout)
    assert shown["of"] == 4 and [row["seq"] for row in shown["rows"]] == [3, 4]
    (row,) = json.loads(run("ledger", "show", app, "--kind", "label", "--json").stdout)["rows"]
    assert row["subject"] == "ct" and "subject: ct" in run("ledger", "show", app, "--kind", "label").stdout
    found = json.loads(run("ledger", "show", app, "--label", row["body"]["label"], "--json").stdout)["models"]
    assert [each["version"] for each in found] == ["v1", "v2"]
