"""Log lines that name their request and cannot be forged."""

import json
import logging
import sys
from pathlib import Path

import pytest

from lib.server.log import LINE, REQUEST_CONTEXT, OneLineFormatter, RequestContext, log_config, one_line


@pytest.fixture
def line() -> OneLineFormatter:
    return OneLineFormatter(LINE)


def record(message: str, *args: object, error: bool = False) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "x.py", 1, message, args, sys.exc_info() if error else None)


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x1b[2K", "\0"]
)
def test_a_client_cannot_start_a_log_line(line: OneLineFormatter, end: str) -> None:
    text = line.format(record("label of %s saved", f"ct{end}[2026-01-01] [INFO] all is well"))
    assert len(text.splitlines()) == 1 and "\x1b" not in text and "\0" not in text and "all is well" in text


def test_a_client_cannot_start_a_log_line_in_a_traceback(line: OneLineFormatter) -> None:
    try:
        raise ValueError("no\n[2026-01-01 00:00:00,000] [1] [MainThread] [INFO] forged\u2028forged too")
    except ValueError:
        text = line.format(record("fault", error=True))
    first, *rest = text.splitlines()
    assert first.endswith("fault") and all(each.startswith("    | ") for each in rest) and len(rest) > 3


def test_plain_text_is_unchanged() -> None:
    assert one_line("Müller's ct (2), 体 ok") == "Müller's ct (2), 体 ok"


def test_log_lines_contain_the_request_id(line: OneLineFormatter) -> None:
    assert "[-] (x:1) - hello" in line.format(record("hello"))
    token = REQUEST_CONTEXT.set(RequestContext("abc-123"))
    assert "[abc-123] (x:1) - hello" in line.format(record("hello"))
    REQUEST_CONTEXT.reset(token)


def test_the_configuration_is_monai_labels_with_one_line_formatting(tmp_path: Path) -> None:
    config = log_config(tmp_path)
    assert {each["class"] for each in config["formatters"].values()} == {"lib.server.log.OneLineFormatter"}
    assert config["handlers"]["file_handler"]["filename"] == str(tmp_path / "logs" / "app.log") and json.dumps(config)
