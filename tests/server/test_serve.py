"""The start of the server: what it refuses, what it prints, how fast it is, and MONAI Label's own command."""

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from lib.server.auth.access import Access, BadAccess
from lib.server.auth.users import BadUsers
from lib.server.serve import CannotServe, configure, next_steps, serve

ROOT = Path(__file__).resolve().parents[2]


def test_a_folder_without_app_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match=r"main\.py or app\.toml"):
        serve(tmp_path, tmp_path)


def test_missing_studies_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotServe, match="no folder of studies"):
        serve(ROOT / "apps" / "airway", tmp_path / "nowhere")


def test_a_port_in_use_is_reported_at_once(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CannotServe, match=rf"127\.0\.0\.1:{port}.*--port"):
            serve(ROOT / "apps" / "airway", tmp_path, port=port)


def test_configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {"PYTHONPATH": "/elsewhere", "MONAI_LABEL_CORS_ORIGINS": '["http://x"]'})
    configure(tmp_path, "/some studies", 8123)
    assert os.environ["MONAI_LABEL_STUDIES"] == "/some studies" and os.environ["MONAI_LABEL_SERVER_PORT"] == "8123"
    assert os.environ["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/elsewhere"]
    assert "MONAI_LABEL_CORS_ORIGINS" not in os.environ and (tmp_path / "logs").is_dir()


def test_next_steps_of_an_empty_store_show_how_to_add_a_study() -> None:
    text = next_steps("http://h:1", ["seg"], None)
    assert "PUT" in text and "http://h:1/datastore/image" in text


@pytest.mark.server
def test_the_printed_curl_line_works(server: Any, wait: Callable, tmp_path: Path) -> None:
    wait(lambda: "curl" in server.log.read_text(), 60, "the next step")
    line = next(line for line in server.log.read_text().splitlines() if line.strip().startswith("curl"))
    subprocess.run([*shlex.split(line), "-sS"], cwd=tmp_path, check=True, timeout=60)
    assert (tmp_path / "label.nii.gz").stat().st_size > 0


@pytest.mark.server
def test_a_second_start_is_fast(
    server: Any, launch: Callable, command: Callable, new_app: Callable, new_studies: Callable, tmp_path: Path
) -> None:
    begin = time.monotonic()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MONAI_LABEL")}
    subprocess.run([sys.executable, "-c", "import monailabel.app"], cwd=tmp_path, env=environment, check=False)
    imports_seconds = time.monotonic() - begin
    second = launch(command, new_app(tmp_path / "app"), new_studies(tmp_path / "studies", 1), tmp_path)
    assert second.seconds < 3 * imports_seconds, (
        f"/info/ after {second.seconds:.1f} s, MONAI Label's imports took {imports_seconds:.1f}"
    )


@pytest.mark.server
def test_monailabels_own_command_serves_from_any_folder(
    launch: Callable, new_app: Callable, new_studies: Callable, tmp_path: Path
) -> None:
    def start_server(app: Path, studies: Path, port: int) -> list[str]:
        # The `monailabel` script is this line without quotes, which a path with a space needs.
        main = [sys.executable, "-m", "monailabel.main", "start_server", "--host", "127.0.0.1", "--port", str(port)]
        return [*main, "--app", str(app), "--studies", str(studies)]

    stock = launch(start_server, new_app(tmp_path / "an app"), new_studies(tmp_path / "s", 1), tmp_path)
    answer = requests.post(f"{stock.url}/infer/tubes?image=ct_0&output=json", timeout=60)
    assert answer.ok and answer.json()["version"] == "starter"


def test_next_steps_of_scans_show_how_to_restore_one() -> None:
    text = next_steps("http://h:1", ["bones"], "scan", example=("Restore a scan", "restored.nii.gz"), slicer=False)
    assert "Restore a scan" in text and "-o restored.nii.gz" in text and "Slicer" not in text and "Segment" not in text


def test_next_steps_without_a_task_that_segments() -> None:
    text = next_steps("http://h:1", [], "ct")
    assert "curl" not in text and "3D Slicer" in text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3"])
def test_the_network_is_not_served_without_sign_in(tmp_path: Path, host: str) -> None:
    with pytest.raises(BadAccess, match="every user there would be admin"):
        serve(ROOT / "apps" / "airway", tmp_path, host=host)
    with pytest.raises(CannotServe, match="no folder of studies"):
        serve(ROOT / "apps" / "airway", tmp_path / "nowhere", host=host, access=Access(open=True))


def test_a_users_file_readable_by_others_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "users.toml").touch(0o644)
    with pytest.raises(BadUsers, match="chmod 600"):
        serve(ROOT / "apps" / "airway", tmp_path, access=Access(users=str(tmp_path / "users.toml")))
