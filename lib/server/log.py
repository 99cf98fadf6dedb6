"""Lines of the log that name the request they are about, and that no client can forge."""

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
# What a terminal or a reader of lines would take for the end of one, or for its beginning.
_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass
class Asked:
    """The request at work in this context.

    Args:
        id: As the answer's ``X-Request-ID`` says.
        code: Why it was refused, empty as long as it was not.
    """

    id: str = NO_REQUEST
    code: str = ""


ASKED: ContextVar[Asked | None] = ContextVar("asked", default=None)


def asked() -> Asked:
    """Return the request at work; outside of one, an empty one."""
    return ASKED.get() or Asked()


def one_line(text: str) -> str:
    """Return a text with everything that breaks a line written out."""
    return _BREAKS.sub(lambda found: found.group().encode("unicode_escape").decode(), text)


class OneLine(logging.Formatter):
    """One line per message; of a traceback each line is indented, so that none looks like a message."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return the line."""
        record.request, record.message = asked().id, one_line(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        """Return the traceback."""
        lines = re.split("[\r\n\x0b\x0c\x1c-\x1e\x85\u2028\u2029]+", super().formatException(ei))
        return "\n".join(f"    | {one_line(line)}" for line in lines)


def log_config(app_dir: Path) -> dict[str, Any]:
    """Return MONAI Label's own settings of the log (console and ``<app>/logs/app.log``), with lines of ours."""
    file = Path(init_log_config(None, str(app_dir), "app.log", "INFO"))
    config = json.loads(file.read_text())
    file.unlink()
    for formatter in config["formatters"].values():
        formatter["class"] = f"{OneLine.__module__}.{OneLine.__name__}"
    config["formatters"]["simple"]["format"] = LINE
    return config
