"""What a command prints: its answer alone on standard output, everything else and its one line of reason beside it."""

import json
import logging
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import Any, NoReturn

import typer


def tell(work: Callable[[], dict[str, Any]], as_json: bool) -> None:
    """Do the work and print its answer.

    Args:
        work: Returns what JSON can hold.
        as_json: Whether as one JSON object, else as indented lines.
    """
    answer = attempt(work)
    print(json.dumps(answer) if as_json else readable(answer))


def attempt(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the work's answer; on failure print one line of reason and leave with status 1."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("ignite").setLevel(logging.WARNING)
    try:
        # Libraries print where they like; standard output belongs to the answer.
        with redirect_stdout(sys.stderr):
            return work()
    except (ValueError, OSError, RuntimeError) as error:
        fail(error)


def fail(error: Exception) -> NoReturn:
    """Leave with status 1 and one line of reason."""
    say(f"error: {' '.join(str(error).split())}")
    raise typer.Exit(1) from None


def readable(answer: Any, indent: str = "") -> str:
    """Return an answer as indented lines, a dash where there is nothing."""
    if isinstance(answer, list) and answer:
        return "\n".join(f"{indent}- {readable(item, indent + '  ').lstrip()}" for item in answer)
    if not isinstance(answer, dict) or not answer:
        return f"{answer:.3f}" if isinstance(answer, float) else "-" if answer in (None, "", [], {}) else str(answer)
    lines = []
    for key, value in answer.items():
        nested = value and isinstance(value, dict | list)
        lines.append(f"{indent}{key}:" + ("\n" + readable(value, indent + "  ") if nested else f" {readable(value)}"))
    return "\n".join(lines)


def say(line: str) -> None:
    """Print a line to whoever watches."""
    print(line, file=sys.stderr, flush=True)


def progress(title: str) -> Callable[[int, int], None]:
    """Return a callable ``(done, total)`` that draws one bar with its ETA on standard error."""
    from tqdm import tqdm

    bar: tqdm | None = None

    def advance(done: int, total: int) -> None:
        nonlocal bar
        bar = bar or tqdm(desc=title, total=total, file=sys.stderr, leave=False)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return advance
