import os
import shutil
from pathlib import Path

import pytest
import requests

from lib.simulation.site import lay_out, served
from tests.server.conftest import ROOT


def make_app(folder: Path) -> Path:
    (folder / "starter" / "net").mkdir(parents=True)
    (folder / "records").mkdir()
    (folder / "model" / "airway").mkdir(parents=True)
    for name in ("app.toml", "main.py", "starter/net/weights", "records/ledger.db", "model/airway/champion"):
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("starter", [False, True])
def test_a_copy_remembers_nothing(tmp_path: Path, starter: bool) -> None:
    image = tmp_path / "ct.nii.gz"
    image.write_bytes(b"image")
    lay_out(tmp_path / "here", make_app(tmp_path / "app"), [image], starter=starter)
    there = {str(p.relative_to(tmp_path / "here")) for p in (tmp_path / "here").rglob("*") if p.is_file()}
    known = {"app/app.toml", "app/main.py", "studies/ct.nii.gz"}
    assert there == known | ({"app/starter/net/weights"} if starter else set())


@pytest.mark.server
def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    shutil.copy(ROOT / "apps" / "airway" / "main.py", app)
    lay_out(tmp_path / "here", app, [], starter=False)
    with pytest.raises(RuntimeError, match=r"app\.toml"), served(tmp_path / "here", threads=1):
        pass


@pytest.mark.server
def test_a_server_ends_with_its_rehearsal(tmp_path: Path) -> None:
    from tests.server.conftest import make_app as tiny_app
    from tests.server.conftest import make_studies

    app, studies = tiny_app(tmp_path / "app"), make_studies(tmp_path / "studies", 1)
    lay_out(tmp_path / "here", app, sorted(studies.glob("*.nii.gz")), starter=True)
    with served(tmp_path / "here", threads=1) as url:
        assert requests.get(f"{url}/datastore/", timeout=30).json()["total"] == 1
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/health", timeout=5)
    assert "MONAI_LABEL_APP_DIR" not in os.environ
