"""The control arm over HTTP: a randomly selected study gets no proposal, and its label records that."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from lib.records.ledger import Ledger
from lib.tasks.strategies.control import is_blank

pytestmark = pytest.mark.server
CASES, SHARE = 12, 0.5


def test_randomly_selected_studies_get_no_proposal(
    tmp_path: Path,
    launch: Callable[..., Any],
    command: Callable,
    new_app: Callable,
    new_studies: Callable,
    make_ct: Callable,
    write_nifti: Callable[..., Path],
) -> None:
    app, studies = new_app(tmp_path / "app"), new_studies(tmp_path / "studies", CASES)
    toml = app / "app.toml"
    toml.write_text(toml.read_text().replace("[app]\n", f"[app]\ncontrol_share = {SHARE}\n", 1))
    server = launch(command, app, studies, tmp_path)
    label = write_nifti(make_ct(0)[1], tmp_path / "label.nii.gz")
    blank = {f"ct_{number}" for number in range(CASES) if is_blank(f"ct_{number}", SHARE)}
    assert 0 < len(blank) < CASES
    for _ in range(CASES):
        case = requests.post(f"{server.url}/activelearning/random", json={"client_id": "Anna"}, timeout=60).json()
        answer = requests.post(f"{server.url}/infer/tubes?image={case['id']}&output=json", timeout=60)
        assert case["blank"] == (case["id"] in blank)
        if case["blank"]:
            assert (answer.status_code, answer.json()["code"]) == (409, "BLANK_CASE"), answer.text
        else:
            assert answer.ok, answer.text
        time.sleep(0.2)
        with label.open("rb") as file:
            url = f"{server.url}/datastore/label?image={case['id']}"
            assert requests.put(url, files={"label": (label.name, file)}, timeout=60).ok
    rows = {row.subject: row.body for row in Ledger.of(app).rows("label")}
    assert {name for name, body in rows.items() if body["blank"]} == blank
    assert all(body["seconds"] >= 0 and bool(body["task"]) != body["blank"] for body in rows.values())
    page = requests.get(f"{server.url}/admin/annotators", timeout=60).text
    assert "A proposal saves" in page and f"against {len(blank)} that were selected at random" in page, page
