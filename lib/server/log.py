"""Log lines that name their request and that no client can forge."""

import json
import logging
import re
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel.utils.others.generic import init_log_config

NO_REQUEST = "-"
LINE = "[%(asctime)s] [%(process)s] [%(threadName)s] [%(levelname)s] [%(request)s] (%(name)s:%(lineno)d) - %(message)s"
# Characters that a terminal or a log reader could take for the end or the start of a line.
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass
class RequestContext:
    """The current request.

    Args:
        id: The request's id, as in the header ``X-Request-ID`` of its answer.
        code: The error code if the request was refused; empty otherwise.
    """

    id: str = NO_REQUEST
    code: str = ""


REQUEST_CONTEXT: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def current_request() -> RequestContext:
    """Return the context of the current request; outside a request, an empty one."""
    return REQUEST_CONTEXT.get() or RequestContext()


def one_line(text: str) -> str:
    """Return `text` with line breaks and control characters replaced by escape sequences."""
    return _BREAKS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class OneLineFormatter(logging.Formatter):
    """Writes one line per message and indents the lines of a traceback, so that they never look like messages."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line of a record."""
        record.request, record.message = current_request().id, one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """Return the indented lines of a traceback."""
        lines = re.split("[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+", super().formatException(ei))
        return "\n".join(f"    | {one_line(line)}" for line in lines)


def log_config(app_dir: Path) -> dict[str, Any]:
    """Return MONAI Label's logging configuration (console and ``<app>/logs/app.log``) with `OneLineFormatter`."""
    file = Path(init_log_config(None, str(app_dir), "app.log", "INFO"))
    config = json.loads(file.read_text())
    file.unlink()
    for formatter in config["formatters"].values():
        formatter["class"] = f"{OneLineFormatter.__module__}.{OneLineFormatter.__name__}"
    config["formatters"]["simple"]["format"] = LINE
    return config
