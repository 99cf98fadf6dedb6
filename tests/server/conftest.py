"""A real server in its own process, with a copy of an app in a folder with a space outside the repository."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests
import torch
from monailabel.client import MONAILabelClient

from tests.server.screens import CHROMIUM

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 3
SLICER = Path(sys.prefix) / "monailabel" / "plugins" / "slicer" / "MONAILabel" / "MONAILabelLib" / "client.py"
SPACING_MM = 2.0
APP = """
[app]
name = "tiny"

[[task]]
name = "tubes"
kind = "segmentation"
model = "topowmamba_tiny"
labels = ["tube", "cavity"]
image = { spacing_mm = [2, 2, 2], window = [-1000, 400], roi = [32, 32], slice_offsets = [-1, 0, 1] }

[task.train]
recipe = "finetune"
max_epochs = 4
val_interval = 4
patches_per_epoch = 128
batch_size = 8
learning_rate = 3e-3
ema_decay = 0.0
warmup_steps = 0
"""


def tiny_ct(seed: int, shape: tuple[int, int, int] = (36, 32, 20)) -> tuple[np.ndarray, np.ndarray]:
    """Return HU (int16) and labels (uint8) in RAS order: a body with an air tube, whose upper end is a cavity."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in shape], indexing="ij")
    hu = np.where((2 * x / (shape[0] - 4)) ** 2 + (2 * y / (shape[1] - 4)) ** 2 < 1, 40.0, -1000.0)
    centre = rng.uniform(-3, 3, 2)
    tube = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < 12
    hu[tube] = -1000
    return (hu + rng.normal(0, 20, shape)).astype(np.int16), np.where(tube, np.where(z > 3, 2, 1), 0).astype(np.uint8)


def write(voxels: np.ndarray, path: Path, affine: np.ndarray | None = None) -> Path:
    """Write voxels as NIfTI, at the tests' spacing unless an affine is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0]) if affine is None else affine
    nib.save(nib.Nifti1Image(voxels, affine), path)
    return path


def make_app(folder: Path, toml: str = APP) -> Path:
    """Make an app, whose task is "tubes", with random starter weights and the repository's main.py."""
    from lib.models.weights import save_weights
    from lib.tasks.serving.weights import build_network
    from lib.tasks.spec import load_app

    folder.mkdir(parents=True)
    shutil.copy(ROOT / "apps" / "airway" / "main.py", folder)
    (folder / "app.toml").write_text(toml)
    task = load_app(folder).task("tubes")
    weights = folder / "starter" / task.model / "weights.safetensors"
    weights.parent.mkdir(parents=True)
    torch.manual_seed(0)
    save_weights(build_network(task), weights)
    return folder


def make_studies(folder: Path, count: int) -> Path:
    """Make a studies folder of tiny CTs without labels."""
    for seed in range(count):
        write(tiny_ct(seed)[0], folder / f"ct_{seed}.nii.gz")
    return folder


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """A server process and its address."""

    app: Path
    studies: Path
    port: int
    log: Path
    process: subprocess.Popen
    seconds: float

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


def start(command: list[str], app: Path, studies: Path, port: int, where: Path) -> Server:
    """Start a server and wait until it answers."""
    log = where / "server.txt"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MONAI_LABEL")}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    begin = time.monotonic()
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=where, env=environment, stdout=output, stderr=subprocess.STDOUT)
    server = Server(app, studies, port, log, process, 0.0)
    try:
        wait_until(lambda: answers(server), 240, f"the server to answer ({log})")
    except BaseException:
        process.kill()
        print(log.read_text()[-4000:])
        raise
    server.seconds = time.monotonic() - begin
    return server


def answers(server: Server) -> bool:
    """Return whether the server answers, also if it requires sign-in; False if the process has ended."""
    assert server.process.poll() is None, server.log.read_text()[-4000:]
    try:
        return requests.get(f"{server.url}/info/", timeout=5).status_code in (200, 401)
    except requests.RequestException:
        return False


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Wait for a condition and fail after a timeout, which is extended because the machine may be shared."""
    end = time.monotonic() + PATIENCE * seconds
    while not condition():
        assert time.monotonic() < end, f"waited {seconds} s for {what}"
        time.sleep(0.2)


def end(server: Server) -> None:
    """End the process through its handle."""
    server.process.terminate()
    try:
        server.process.wait(20)
    except subprocess.TimeoutExpired:
        server.process.kill()
        server.process.wait(20)


def serve_command(app: Path, studies: Path, port: int) -> list[str]:
    """Return the command that serves through `lib.server.serve`."""
    code = "import sys; from lib.server.serve import serve; serve(sys.argv[1], sys.argv[2], port=int(sys.argv[3]))"
    return [sys.executable, "-c", code, str(app), str(studies), str(port)]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for all tests of this folder."""
    where = tmp_path_factory.mktemp("with a space")
    app, studies, port = make_app(where / "an app"), make_studies(where / "the studies", 4), free_port()
    server = start(serve_command(app, studies, port), app, studies, port, where)
    yield server
    end(server)


@pytest.fixture
def client(server: Server, tmp_path: Path) -> MONAILabelClient:
    """MONAI Label's own client of that server."""
    return MONAILabelClient(server.url, tmpdir=str(tmp_path), client_id="test")


@pytest.fixture(scope="session")
def slicer() -> ModuleType:
    """The client module of 3D Slicer's extension, loaded from the package."""
    spec = importlib.util.spec_from_file_location("slicers_client", SLICER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def launch() -> Iterator[Callable[..., Server]]:
    """Start another server with a command made from app, studies and port; it ends after the tests of the file.

    A server takes 700 MB: the servers of all files together would fill the memory.
    """
    servers: list[Server] = []

    def launched(command: Callable[[Path, Path, int], list[str]], app: Path, studies: Path, where: Path) -> Server:
        port = free_port()
        servers.append(start(command(app, studies, port), app, studies, port, where))
        return servers[-1]

    yield launched
    for server in servers:
        end(server)


@pytest.fixture
def launch_at() -> Iterator[Callable[..., Server]]:
    """Start a server on the port of an earlier server; the last one is ended after the test."""
    servers: list[Server] = []

    def launched(app: Path, studies: Path, where: Path, port: int = 0) -> Server:
        port = port or free_port()
        servers.append(start(serve_command(app, studies, port), app, studies, port, where))
        return servers[-1]

    yield launched
    end(servers[-1])


@pytest.fixture(scope="session")
def make_ct() -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    return tiny_ct


@pytest.fixture(scope="session")
def write_nifti() -> Callable[..., Path]:
    return write


@pytest.fixture(scope="session")
def wait() -> Callable[..., None]:
    return wait_until


@pytest.fixture(scope="session")
def command() -> Callable[[Path, Path, int], list[str]]:
    return serve_command


@pytest.fixture(scope="session")
def new_app() -> Callable[..., Path]:
    return make_app


@pytest.fixture(scope="session")
def new_studies() -> Callable[[Path, int], Path]:
    return make_studies


@pytest.fixture(scope="session")
def free() -> Callable[[], int]:
    return free_port


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, without a display."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
