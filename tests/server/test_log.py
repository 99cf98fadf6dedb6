"""Lines that name their request and that nobody forges."""

import json
import logging
import sys
from pathlib import Path

import pytest

from lib.server.log import ASKED, LINE, Asked, OneLine, log_config, one_line


@pytest.fixture
def line() -> OneLine:
    return OneLine(LINE)


def record(message: str, *args: object, error: bool = False) -> logging.LogRecord:
    return logging.LogRecord("x", logging.INFO, "x.py", 1, message, args, sys.exc_info() if error else None)


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029", "\x1b[2K", "\0"]
)
def test_a_client_cannot_begin_a_line(line: OneLine, end: str) -> None:
    told = line.format(record("label of %s saved", f"ct{end}[2026-01-01] [INFO] all is well"))
    assert len(told.splitlines()) == 1 and "\x1b" not in told and "\0" not in told and "all is well" in told


def test_nor_in_a_traceback(line: OneLine) -> None:
    try:
        raise ValueError("no\n[2026-01-01 00:00:00,000] [1] [MainThread] [INFO] forged\u2028forged too")
    except ValueError:
        told = line.format(record("fault", error=True))
    first, *rest = told.splitlines()
    assert first.endswith("fault") and all(each.startswith("    | ") for each in rest) and len(rest) > 3


def test_plain_text_stays() -> None:
    assert one_line("Müller's ct (2), 体 ok") == "Müller's ct (2), 体 ok"


def test_the_request_is_named(line: OneLine) -> None:
    assert "[-] (x:1) - hello" in line.format(record("hello"))
    token = ASKED.set(Asked("abc-123"))
    assert "[abc-123] (x:1) - hello" in line.format(record("hello"))
    ASKED.reset(token)


def test_settings_are_monai_labels_with_our_lines(tmp_path: Path) -> None:
    config = log_config(tmp_path)
    assert {each["class"] for each in config["formatters"].values()} == {"lib.server.log.OneLine"}
    assert config["handlers"]["file_handler"]["filename"] == str(tmp_path / "logs" / "app.log") and json.dumps(config)
