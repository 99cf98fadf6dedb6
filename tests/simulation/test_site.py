import os
import shutil
from pathlib import Path

import pytest
import requests

from lib.simulation.site import create_site, serve
from tests.server.conftest import ROOT


def make_app(folder: Path) -> Path:
    (folder / "starter" / "net").mkdir(parents=True)
    (folder / "records").mkdir()
    (folder / "model" / "airway").mkdir(parents=True)
    for name in ("app.toml", "main.py", "starter/net/weights", "records/ledger.db", "model/airway/champion"):
        (folder / name).write_text(name)
    return folder


@pytest.mark.parametrize("starter", [False, True])
def test_a_copied_app_has_no_records_and_no_weights(tmp_path: Path, starter: bool) -> None:
    image = tmp_path / "ct.nii.gz"
    image.write_bytes(b"image")
    create_site(tmp_path / "site", make_app(tmp_path / "app"), [image], starter=starter)
    files = {str(p.relative_to(tmp_path / "site")) for p in (tmp_path / "site").rglob("*") if p.is_file()}
    expected = {"app/app.toml", "app/main.py", "studies/ct.nii.gz"}
    assert files == expected | ({"app/starter/net/weights"} if starter else set())


@pytest.mark.server
def test_the_error_of_a_server_that_cannot_start_has_the_reason(tmp_path: Path) -> None:
    app = make_app(tmp_path / "app")
    shutil.copy(ROOT / "apps" / "airway" / "main.py", app)
    create_site(tmp_path / "site", app, [], starter=False)
    with pytest.raises(RuntimeError, match=r"app\.toml"), serve(tmp_path / "site", threads=1):
        pass


@pytest.mark.server
def test_the_server_stops_after_its_rehearsal(tmp_path: Path) -> None:
    from tests.server.conftest import make_app as tiny_app
    from tests.server.conftest import make_studies

    app, studies = tiny_app(tmp_path / "app"), make_studies(tmp_path / "studies", 1)
    create_site(tmp_path / "site", app, sorted(studies.glob("*.nii.gz")), starter=True)
    with serve(tmp_path / "site", threads=1) as url:
        assert requests.get(f"{url}/datastore/", timeout=30).json()["total"] == 1
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/health", timeout=5)
    assert "MONAI_LABEL_APP_DIR" not in os.environ
