"""Output of a command: only its answer on standard output; progress, logs and errors on standard error."""

import json
import logging
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any, NoReturn

import typer


def print_answer(work: Callable[[], dict[str, Any]], as_json: bool) -> None:
    """Call a function and print its answer.

    Args:
        work: Returns the answer as a JSON object.
        as_json: Whether to print one JSON object instead of indented lines.
    """
    answer = run_or_exit(work)
    print(json.dumps(answer) if as_json else format_answer(answer))


def run_or_exit(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Call a function and return its answer; if it fails, print one line with the reason and exit with status 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("ignite").setLevel(logging.WARNING)
    try:
        # Libraries print to standard output, which is only for the answer.
        with redirect_stdout(sys.stderr):
            return work()
    except (ValueError, OSError, RuntimeError) as error:
        exit_with_error(error)


def exit_with_error(error: Exception) -> NoReturn:
    """Print an error in one line and exit with status 1."""
    print_status(f"error: {' '.join(str(error).split())}")
    raise typer.Exit(1) from None


def format_answer(answer: Any, indent: str = "") -> str:
    """Return an answer as indented lines, with a dash for an empty value."""
    if isinstance(answer, list) and answer:
        return "\n".join(f"{indent}- {format_answer(item, indent + '  ').lstrip()}" for item in answer)
    if not isinstance(answer, dict) or not answer:
        return f"{answer:.3f}" if isinstance(answer, float) else "-" if answer in (None, "", [], {}) else str(answer)
    lines = []
    for key, value in answer.items():
        nested = value and isinstance(value, dict | list)
        text = "\n" + format_answer(value, indent + "  ") if nested else f" {format_answer(value)}"
        lines.append(f"{indent}{key}:{text}")
    return "\n".join(lines)


def print_status(line: str) -> None:
    """Print a line on standard error."""
    print(line, file=sys.stderr, flush=True)


def progress_bar(title: str) -> Callable[[int, int], None]:
    """Return a function ``(done, total)`` that draws a progress bar with the remaining time on standard error."""
    from tqdm import tqdm

    bar: tqdm | None = None

    def advance(done: int, total: int) -> None:
        nonlocal bar
        bar = bar or tqdm(desc=title, total=total, file=sys.stderr, leave=False)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return advance
