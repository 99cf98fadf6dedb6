"""The targets beside what the kept results reached, in one table; nothing is measured here.

``python -m benchmarks.summary``; a benchmark with one ratio to show keeps it as ``ratios`` in its JSON.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.machine import RESULTS

Figures = dict[str, Any]
LEAST_LENGTH, SCANS = 16384, 4


@dataclass(frozen=True)
class Target:
    """One promise.

    Args:
        what: What is measured.
        against: What with.
        goal: The ratio wanted.
        source: Name of the result that has it.
        pick: The ratios of all rounds, from that result.
        at_most: Whether less is better.
        vectors: The vector units the goal was set for, as torch calls them; empty where it does not matter.
    """

    what: str
    against: str
    goal: float
    source: str
    pick: Callable[[Figures], list[float]]
    at_most: bool = False
    vectors: str = ""

    def met(self, ratio: float) -> bool:
        """Say whether a ratio is good enough."""
        return ratio <= self.goal if self.at_most else ratio >= self.goal

    @property
    def wanted(self) -> str:
        """The goal in words."""
        return f"<= {self.goal:g}x" if self.at_most else f">= {self.goal:g}x"


def scan(figures: Figures, state: int, length: int, what: str) -> list[float]:
    """Return the native scan's speed-ups."""
    row = next(r for r in figures["rows"] if (r["state"], r["length"], r["pass"]) == (state, length, what))
    return row["ratios"]["C++"]


def narrow(figures: Figures) -> list[float]:
    """Return the speed-ups of the scan held to AVX2; where there is nothing wider, of the scan as it is."""
    if figures["made_by"].get("vectors") == "AVX2":
        return scan(figures, state=16, length=4096, what="forward")
    return figures["held"]["avx2"]


def core(figures: Figures) -> list[float]:
    """Return the speed-ups of SS2D's core."""
    return next(r for r in figures["core"] if (r["state"], r["pass"]) == (16, "forward"))["ratios"]


def network(figures: Figures) -> list[float]:
    """Return TopoWMamba base's time over DynUNet's, round by round."""
    taken = figures["forward"]["float32"]
    return [a / b for a, b in zip(taken["topowmamba_base"], taken["dynunet"], strict=True)]


def floor(figures: Figures) -> list[float]:
    """Return the shares of the bandwidth floor that the Triton scan reached on long sequences."""
    rows = (r for r in figures["rows"] if r["length"] >= LEAST_LENGTH and r["scans"] == SCANS)
    return [r["of floor"] for r in rows if r["of floor"] is not None]


def ratios(figures: Figures) -> list[float]:
    """Return the one ratio of a benchmark."""
    return figures["ratios"]


BOTH, WIDE = "forward + backward", "AVX512"
FORWARD = {length: partial(scan, state=16, length=length, what="forward") for length in (4096, 16384)}
TRAINED = {state: partial(scan, state=state, length=4096, what=BOTH) for state in (16, 1)}
TARGETS = (
    Target("scan forward, N 16, L 4096, AVX-512", "plain loop", 50, "scan", FORWARD[4096], vectors=WIDE),
    Target("scan forward, N 16, L 16384, AVX-512", "plain loop", 80, "scan", FORWARD[16384], vectors=WIDE),
    Target("scan forward + backward, N 16, L 4096", "plain loop", 40, "scan", TRAINED[16], vectors=WIDE),
    Target("scan forward + backward, N 1, L 4096", "plain loop", 150, "scan", TRAINED[1], vectors=WIDE),
    Target("scan forward, N 16, L 4096, AVX2", "plain loop", 18, "scan", narrow),
    Target("SS2D core forward, N 16", "unfused pscan", 50, "scan", core, vectors=WIDE),
    Target("TopoWMamba base at 256 x 256, time", "DynUNet", 0.6, "networks", network, at_most=True),
    Target("SAM click after the first on a slice", "encode at every click", 50, "clicks", ratios),
    Target("load -> save of 512 x 512 x 120, 14 classes", "stock MONAI", 12, "reading", ratios),
    Target("student", "its teacher", 10, "students", ratios),
    Target("Triton scan forward, L >= 16384, K 4", "the bandwidth floor", 0.5, "scan_gpu", floor),
)


def row(target: Target) -> str:
    """Return a target's line of the table."""
    head, path = f"| {target.what} | {target.against} | {target.wanted} |", RESULTS / f"{target.source}.json"
    if not path.exists():
        return f"{head} not measured yet | | | |"
    figures = json.loads(path.read_text())
    made_by = figures["made_by"]
    vectors = made_by.get("vectors", "")
    origin = f"{made_by['commit']}, {made_by['device']} {vectors}".strip()
    try:
        found = target.pick(figures)
        median = statistics.median(found)
    except (KeyError, StopIteration, statistics.StatisticsError):
        return f"{head} not in this result | | `{made_by['command']}` | {origin} |"
    verdict = "yes" if target.met(median) else f"no: [{target.source}]({target.source}.md)"
    if target.vectors and vectors and vectors != target.vectors:
        verdict += f" (the goal is for {target.vectors})"
    spread = f"{median:.3g}x ({min(found):.3g}-{max(found):.3g})"
    return f"{head} {spread} | {verdict} | `{made_by['command']}` | {origin} |"


def main() -> None:
    """Print the table and keep it."""
    lines = [
        "| what | against | target | reached, median (range) | met | measured by | commit, machine |",
        "|---|---|---:|---:|---|---|---|",
        *map(row, TARGETS),
    ]
    note = (
        "Every figure is read from the result that its command keeps beside this file; there, too, is the measured\n"
        "limit behind one that falls short. Ratios of interleaved rounds in one run, one thread."
    )
    table = "\n".join([*lines, "", note])
    (RESULTS / "targets.md").write_text(f"# targets\n\n`python -m benchmarks.summary`\n\n{table}\n")
    print(table)


if __name__ == "__main__":
    main()
