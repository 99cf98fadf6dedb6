"""The routes of the server's log and the state of the GPUs, as in MONAI Label."""

import shutil
import subprocess
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from monailabel.config import settings
from monailabel.endpoints.logs import get_logs

from lib.server.refusals import Refused
from lib.server.routes.request import Admin

MAX_LINES = 100_000
GPU_SECONDS = 10

router = APIRouter(tags=["Others"])


@router.get("/logs/", summary="Return the server's log", response_class=Response)
def logs(user: Admin, lines: int = 300, html: bool = True, text: bool = False, refresh: int = 0) -> Response:
    """Return the last lines of the log, as a page that can refresh itself or as text."""
    count = min(lines, MAX_LINES) if lines > 0 else MAX_LINES
    file = Path(settings.MONAI_LABEL_APP_DIR) / "logs" / "app.log"
    if not file.is_file():
        raise Refused(404, "NO_LOG", "There is no log yet.", "Start the server with `python -m lib serve`.")
    return get_logs(str(file), count, html, text, min(refresh, 3600))


@router.get("/logs/gpu", summary="Return the output of nvidia-smi", response_class=PlainTextResponse)
def gpus(user: Admin) -> str:
    """Return the output of nvidia-smi."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        raise Refused(404, "NO_GPU", "This machine has no nvidia-smi.", "Inference runs on the CPU; nothing to do.")
    return subprocess.run([tool], capture_output=True, text=True, timeout=GPU_SECONDS).stdout
