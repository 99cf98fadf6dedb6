"""The process that serves: its settings, its port, and the next step for whoever started it."""

import contextlib
import ctypes
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import lib
from lib.server.auth.access import Access

LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
APP_FOLDERS = ("model", "logs", "bin")
DICOMWEB_CACHE_SECONDS = 5
SLICER_STEPS = "3D Slicer: module MONAI Label, server {address}, press the green arrow, then Next Sample, then Run."
SIGN_IN = "people sign in: browsers at {address}/login, Slicer by itself, scripts with a token of {address}/auth/token"


class CannotServe(RuntimeError):
    """Raised where no server can start, with what to do."""


def serve(
    app_dir: str | Path, studies: str | Path, host: str = "127.0.0.1", port: int = 8000, access: Access | None = None
) -> None:
    """Serve an app until interrupted.

    Args:
        app_dir: The app's folder, from anywhere.
        studies: Folder of studies, or the address of a DICOMweb server.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        access: Who may use it; what the environment says if not given.
    Raises:
        CannotServe: If the app or the studies are not there, or the port is taken.
        BadAccess: If the network could come in unknown, or the users file will not do.
    """
    access = access or Access.of(os.environ)
    access.check(host)
    app_dir, studies = existing_app(app_dir), existing_studies(studies)
    # The port first: whoever chose a taken one hears it at once and not after ten seconds of imports.
    listener = _listen(host, port)
    address = f"http://{host}:{listener.getsockname()[1]}"
    print(f"starting {app_dir.name} for {studies} ...", flush=True)
    if access.signs_in:
        print(SIGN_IN.format(address=address), flush=True)
    configure(app_dir, studies, listener.getsockname()[1])
    os.environ |= access.variables()
    if listener.getsockname()[0] in LOOPBACK_ADDRESSES:
        from lib.server.guard.origins import HOSTS_VARIABLE  # behind the environment, as all that imports MONAI Label

        # A foreign page whose name was made to point here would else be a page of this server.
        os.environ.setdefault(HOSTS_VARIABLE, ",".join(LOOPBACK_NAMES))
    _run(listener, address, app_dir)


def configure(app_dir: Path, studies: str, port: int) -> None:
    """Set what MONAI Label, and the processes it starts for training, read from the environment.

    Args:
        app_dir: Absolute.
        studies: Absolute, or an address.
        port: Where the server listens.
    """
    for folder in APP_FOLDERS:
        (app_dir / folder).mkdir(exist_ok=True)
    os.environ |= {
        "MONAI_LABEL_APP_DIR": str(app_dir),
        "MONAI_LABEL_STUDIES": studies,
        "MONAI_LABEL_SERVER_PORT": str(port),
        "MONAI_LABEL_SESSION_PATH": str(app_dir / "model" / ".sessions"),
        # Else a study just labelled stays unlabelled for two hours.
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": str(DICOMWEB_CACHE_SECONDS),
        # A training process has no entry for this, and MONAI Label reads it without asking.
        "PYTHONPATH": os.pathsep.join([str(lib.REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    # Threads that wait must not keep the cores from whoever waits for an answer.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # MONAI Label calls dcmqi's itkimage2segimage by its name, and downloads it where no name leads to it.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    os.environ.setdefault("MONAI_LABEL_APP_CONF", json.dumps({}))
    # Else two apps on one archive share what is kept of it, labels of other classes included.
    os.environ.setdefault("MONAI_LABEL_DICOMWEB_CACHE_PATH", str(app_dir / "model" / ".dicomweb"))
    # MONAI Label cannot start with its own variable set; lib.server.app has another.
    os.environ.pop("MONAI_LABEL_CORS_ORIGINS", None)


def next_steps(
    address: str,
    models: list[str],
    image: str | None,
    study: str = "",
    *,
    example: tuple[str, str] = ("Segment a study", "label.nii.gz"),
    slicer: bool = True,
) -> str:
    """Return what to do with a server that answers.

    Args:
        address: Where it listens.
        models: Names of its infer tasks that segment by themselves.
        image: A study of the store, None if it is empty.
        study: Its UID in a DICOMweb archive, empty for a folder.
        example: What a first request does, in words, and the file that it writes.
        slicer: Whether 3D Slicer can show the answers.
    """
    lines = [f"serving on {address}", *([f"  {SLICER_STEPS.format(address=address)}"] if slicer else [])]
    if study:
        lines.append(f"  OHIF: {address}/ohif/monai-label?StudyInstanceUIDs={study}")
    if image is None:
        upload = f'curl -f -X PUT -F file=@study.nii.gz "{address}/datastore/image?image=study"'
        lines.append(f"  The store is empty; add a study:\n    {upload}")
    elif models:
        url = f"{address}/infer/{models[0]}?image={quote(image)}&output=image"
        params = """'params={"result_extension": ".nii.gz"}'"""
        action, file = example
        lines.append(f'  {action}:\n    curl -f -X POST -F {params} -o {file} "{url}"')
    lines.append(f"  The admin's pages: {address}/admin")
    lines.append(f"  What the server has: {address}/info/   Its log: {address}/logs/?text=true   Stop: Ctrl+C")
    return "\n".join(lines)


def existing_app(app_dir: str | Path) -> Path:
    """Return the folder of an app, absolute."""
    path = Path(app_dir).expanduser().resolve()
    if not (path / "app.toml").is_file() or not (path / "main.py").is_file():
        raise CannotServe(f"{path} is no app: it needs main.py and app.toml")
    return path


def existing_studies(studies: str | Path) -> str:
    """Return the studies: an address as it is, a folder absolute."""
    if str(studies).startswith(("http://", "https://")):
        return str(studies)
    path = Path(studies).expanduser().resolve()
    if not path.is_dir():
        raise CannotServe(f"there is no folder of studies at {path}: make it, or run `make sample`")
    return str(path)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        # Without this, another server could bind the port while this one still imports.
        listener.listen(128)
    except OSError as error:
        raise CannotServe(f"cannot listen on {host}:{port} ({error.strerror}): choose another with --port") from None
    return listener


def _share_arenas() -> None:
    """Have all threads take memory from two places: else each keeps what it freed, an image's worth, in its own."""
    arena_max = -8
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(arena_max, 2)


def _run(listener: socket.socket, address: str, app_dir: Path) -> None:
    _share_arenas()
    # Imported once the environment is set: MONAI Label reads its settings when it is imported.
    import uvicorn
    from monailabel.interfaces.utils.app import app_instance

    from lib.server.app import app
    from lib.server.log import log_config
    from lib.tasks.store.archive import ArchiveStore

    class Announcing(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            instance: Any = app_instance()
            store, infers = instance.datastore(), instance.infers
            models = [name for name, infer in infers.items() if not infer.needs_clicks]
            image = min(store.list_images(), default=None)
            study = store.study_of(image) if image and isinstance(store, ArchiveStore) else ""
            kind = instance.kind
            steps = next_steps(address, models, image, study, example=kind.example, slicer=kind.serves_slicer)
            print(steps, flush=True)

    config = uvicorn.Config(
        app,
        log_level="info",
        log_config=log_config(app_dir),
        access_log=False,
        server_header=False,
        ws="none",
        # Else whoever asks from this machine says itself where it asks from.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
    )
    # Uvicorn shuts down in order and then raises the signal anew.
    with contextlib.suppress(KeyboardInterrupt):
        Announcing(config).run(sockets=[listener])
