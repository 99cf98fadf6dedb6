"""Start the server process: set its environment, open its port and print the next steps."""

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
from lib.imports import deferred
from lib.server.auth.access import Access

LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
APP_FOLDERS = ("model", "logs", "bin")
DICOMWEB_CACHE_SECONDS = 5
SLICER_STEPS = "3D Slicer: module MONAI Label, server {address}, press the green arrow, then Next Sample, then Run."
SIGN_IN = (
    "users must sign in: browsers at {address}/login, 3D Slicer in its own dialog, scripts with a token from "
    "{address}/auth/token"
)


class CannotServe(RuntimeError):
    """Raised if the server cannot start; the message gives the next step."""


def serve(
    app_dir: str | Path, studies: str | Path, host: str = "127.0.0.1", port: int = 8000, access: Access | None = None
) -> None:
    """Serve an app until interrupted.

    Args:
        app_dir: Folder of the app; any path.
        studies: Folder of studies, or the address of a DICOMweb server.
        host: Address to listen on.
        port: Port to listen on; 0 takes a free one.
        access: Access settings; those of the environment if not given.
    Raises:
        CannotServe: If the app or the studies do not exist, or the port is in use.
        BadAccess: If the network could use the server without sign-in, or the users file is invalid.
    """
    access = access or Access.from_environment(os.environ)
    access.check(host)
    app_dir, studies = existing_app(app_dir), existing_studies(studies)
    # The port is opened first, so that a port in use is reported at once and not after ten seconds of imports.
    listener = _listen(host, port)
    address = f"http://{host}:{listener.getsockname()[1]}"
    print(f"starting {app_dir.name} for {studies} ...", flush=True)
    if access.requires_sign_in:
        print(SIGN_IN.format(address=address), flush=True)
    configure(app_dir, studies, listener.getsockname()[1])
    os.environ |= access.variables()
    if listener.getsockname()[0] in LOOPBACK_ADDRESSES:
        # After the environment is set: it imports MONAI Label, and that MONAI, which a server needs at no start.
        with deferred("monai"):
            from lib.server.guard.origins import HOSTS_VARIABLE

        # Against DNS rebinding: a foreign host name that resolves to this machine must not count as this server.
        os.environ.setdefault(HOSTS_VARIABLE, ",".join(LOOPBACK_NAMES))
    _run(listener, address, app_dir)


def configure(app_dir: Path, studies: str, port: int) -> None:
    """Set the environment variables that MONAI Label and its training processes read.

    Args:
        app_dir: Absolute path of the app's folder.
        studies: Absolute path of the studies, or the address of a DICOMweb server.
        port: Port of the server.
    """
    for folder in APP_FOLDERS:
        (app_dir / folder).mkdir(exist_ok=True)
    os.environ |= {
        "MONAI_LABEL_APP_DIR": str(app_dir),
        "MONAI_LABEL_STUDIES": studies,
        "MONAI_LABEL_SERVER_PORT": str(port),
        "MONAI_LABEL_SESSION_PATH": str(app_dir / "model" / ".sessions"),
        # With the default, a study that was just labelled is listed as unlabelled for two hours.
        "MONAI_LABEL_DICOMWEB_CACHE_EXPIRY": str(DICOMWEB_CACHE_SECONDS),
        # MONAI Label reads this variable in its training processes without checking that it is set.
        "PYTHONPATH": os.pathsep.join([str(lib.REPOSITORY), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    # Waiting OpenMP threads must not occupy the cores that answer requests.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # MONAI Label calls dcmqi's itkimage2segimage by name, and downloads it if it is not on the PATH.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    os.environ.setdefault("MONAI_LABEL_APP_CONF", json.dumps({}))
    # Otherwise two apps on one archive share a cache, including labels of other classes.
    os.environ.setdefault("MONAI_LABEL_DICOMWEB_CACHE_PATH", str(app_dir / "model" / ".dicomweb"))
    # MONAI Label cannot start with its own variable set; lib.server.guard.origins reads another one.
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
    """Return the next steps for the user of a running server, as text.

    Args:
        address: Address of the server.
        models: Names of the infer tasks that need no clicks.
        image: Name of a study in the store, None if the store is empty.
        study: DICOM UID of that study in a DICOMweb archive, empty for a folder.
        example: Description of a first request and the name of the file that it writes.
        slicer: Whether 3D Slicer can show the results.
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
    lines.append(f"  Admin pages: {address}/admin")
    lines.append(f"  Models and labels: {address}/info/   Log: {address}/logs/?text=true   Stop: Ctrl+C")
    return "\n".join(lines)


def existing_app(app_dir: str | Path) -> Path:
    """Return the absolute path of an app's folder."""
    path = Path(app_dir).expanduser().resolve()
    if not (path / "app.toml").is_file() or not (path / "main.py").is_file():
        raise CannotServe(f"{path} is not an app: main.py or app.toml is missing; give the folder of an app")
    return path


def existing_studies(studies: str | Path) -> str:
    """Return the studies: an address unchanged, a folder as its absolute path."""
    if str(studies).startswith(("http://", "https://")):
        return str(studies)
    path = Path(studies).expanduser().resolve()
    if not path.is_dir():
        raise CannotServe(f"there is no folder of studies at {path}: create it, or run `make sample`")
    return str(path)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        # Without this, another server could bind the port while this process still imports modules.
        listener.listen(128)
    except OSError as error:
        raise CannotServe(f"cannot listen on {host}:{port} ({error.strerror}): choose another with --port") from None
    return listener


def _share_arenas() -> None:
    """Limit glibc to two memory arenas: otherwise every thread's arena keeps the freed memory of an image."""
    arena_max = -8
    with contextlib.suppress(OSError, AttributeError):  # not glibc
        ctypes.CDLL(None).mallopt(arena_max, 2)


def _run(listener: socket.socket, address: str, app_dir: Path) -> None:
    _share_arenas()
    # Imported only after the environment is set: MONAI Label reads its settings when it is imported.
    import uvicorn
    from monailabel.interfaces.utils.app import app_instance

    from lib.server.app import app
    from lib.server.log import log_config
    from lib.tasks.store.archive import ArchiveStore

    class AnnouncingServer(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets=sockets)
            instance: Any = app_instance()
            store, infers = instance.datastore(), instance.infers
            models = [name for name, infer in infers.items() if not infer.needs_clicks]
            image = min(store.list_images(), default=None)
            study = store.study_uid(image) if image and isinstance(store, ArchiveStore) else ""
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
        # Otherwise a client on this machine could set its own address with a proxy header.
        proxy_headers="FORWARDED_ALLOW_IPS" in os.environ,
    )
    # Uvicorn shuts down in order and then raises the signal again.
    with contextlib.suppress(KeyboardInterrupt):
        AnnouncingServer(config).run(sockets=[listener])
