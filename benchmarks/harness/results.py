"""Write the result of a benchmark: its table as Markdown, its figures as JSON, and the command and machine of both."""

import json
from typing import Any

from benchmarks.harness.machine import describe_machine
from benchmarks.harness.paths import RESULTS


def write_result(name: str, command: str, figures: dict[str, Any], table: str) -> None:
    """Print a table, and write it and its figures to ``results/<name>.md`` and ``results/<name>.json``.

    Args:
        name: Name of the benchmark.
        command: Command that repeats the measurement.
        figures: Figures of the table, JSON-safe.
        table: Table and notes in Markdown.
    """
    made_by = {"command": command, **describe_machine()}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"{name}.json").write_text(json.dumps({"made_by": made_by, **figures}, indent=1) + "\n")
    head = "\n".join(f"- {key}: {value}" for key, value in made_by.items())
    (RESULTS / f"{name}.md").write_text(f"# {name}\n\n{head}\n\n{table}\n")
    print(table)
