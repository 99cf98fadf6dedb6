"""Compare the stored results with their targets in one table; nothing is measured.

``python -m benchmarks.summary``; a benchmark with a single ratio stores it as ``ratios`` in its JSON.
"""

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.harness.paths import RESULTS
from benchmarks.harness.tables import markdown_table, median_range

Figures = dict[str, Any]
LEAST_LENGTH, SCANS = 16384, 4


@dataclass(frozen=True)
class Target:
    """A target for one ratio.

    Args:
        what: Description of the measurement.
        against: Description of the reference.
        goal: Target ratio.
        source: Name of the result with the measurement.
        pick: Returns the ratios of all rounds from the figures of the result.
        at_most: Whether the ratio should be at most the goal; otherwise at least.
        vectors: Vector units of the goal, by torch's name; empty if the goal does not depend on them.
    """

    what: str
    against: str
    goal: float
    source: str
    pick: Callable[[Figures], list[float]]
    at_most: bool = False
    vectors: str = ""

    def is_met(self, ratio: float) -> bool:
        """Return whether a ratio meets the target."""
        return ratio <= self.goal if self.at_most else ratio >= self.goal

    @property
    def goal_text(self) -> str:
        """The goal for the table."""
        return f"<= {self.goal:g}x" if self.at_most else f">= {self.goal:g}x"


def scan(figures: Figures, state: int, length: int, what: str) -> list[float]:
    """Return the speed-ups of the native scan for a state size, a length and a pass."""
    row = next(r for r in figures["rows"] if (r["state"], r["length"], r["pass"]) == (state, length, what))
    return row["ratios"]["C++"]


def scan_avx2(figures: Figures) -> list[float]:
    """Return the speed-ups of the scan limited to AVX2; on a machine without wider units, of the plain scan."""
    if figures["made_by"].get("vectors") == "AVX2":
        return scan(figures, state=16, length=4096, what="forward")
    return figures["held"]["avx2"]


def core(figures: Figures) -> list[float]:
    """Return the speed-ups of the core of SS2D."""
    return next(r for r in figures["core"] if (r["state"], r["pass"]) == (16, "forward"))["ratios"]


def network(figures: Figures) -> list[float]:
    """Return the time of TopoWMamba base over that of DynUNet, round by round."""
    taken = figures["forward"]["float32"]
    return [a / b for a, b in zip(taken["topowmamba_base"], taken["dynunet"], strict=True)]


def floor(figures: Figures) -> list[float]:
    """Return the shares of the bandwidth floor that the Triton scan reached on long sequences."""
    rows = (r for r in figures["rows"] if r["length"] >= LEAST_LENGTH and r["scans"] == SCANS)
    return [r["of floor"] for r in rows if r["of floor"] is not None]


def ratios(figures: Figures) -> list[float]:
    """Return the single ratio of a benchmark."""
    return figures["ratios"]


BOTH, WIDE = "forward + backward", "AVX512"
FORWARD = {length: partial(scan, state=16, length=length, what="forward") for length in (4096, 16384)}
TRAINED = {state: partial(scan, state=state, length=4096, what=BOTH) for state in (16, 1)}
TARGETS = (
    Target("scan forward, N 16, L 4096, AVX-512", "plain loop", 50, "scan", FORWARD[4096], vectors=WIDE),
    Target("scan forward, N 16, L 16384, AVX-512", "plain loop", 80, "scan", FORWARD[16384], vectors=WIDE),
    Target("scan forward + backward, N 16, L 4096", "plain loop", 40, "scan", TRAINED[16], vectors=WIDE),
    Target("scan forward + backward, N 1, L 4096", "plain loop", 150, "scan", TRAINED[1], vectors=WIDE),
    Target("scan forward, N 16, L 4096, AVX2", "plain loop", 18, "scan", scan_avx2),
    Target("SS2D core forward, N 16", "unfused pscan", 50, "scan", core, vectors=WIDE),
    Target("TopoWMamba base at 256 x 256, time", "DynUNet", 0.6, "networks", network, at_most=True),
    Target("SAM click after the first on a slice", "encode at every click", 50, "clicks", ratios),
    Target("load -> save of 512 x 512 x 120, 14 classes", "stock MONAI", 12, "reading", ratios),
    Target("student", "its teacher", 10, "students", ratios),
    Target("Triton scan forward, L >= 16384, K 4", "the bandwidth floor", 0.5, "scan_gpu", floor),
)


def cells(target: Target) -> list[str]:
    """Return the cells of a target in the table."""
    head, path = [target.what, target.against, target.goal_text], RESULTS / f"{target.source}.json"
    if not path.exists():
        return [*head, "not measured yet", "", "", ""]
    figures = json.loads(path.read_text())
    made_by = figures["made_by"]
    vectors = made_by.get("vectors", "")
    origin = f"{made_by['commit']}, {made_by['device']} {vectors}".strip()
    try:
        found = target.pick(figures)
        median = statistics.median(found)
    except (KeyError, StopIteration, statistics.StatisticsError):
        return [*head, "not in this result", "", f"`{made_by['command']}`", origin]
    verdict = "yes" if target.is_met(median) else f"no: [{target.source}]({target.source}.md)"
    if target.vectors and vectors and vectors != target.vectors:
        verdict += f" (the target is for {target.vectors})"
    return [*head, median_range(found, ".3g"), verdict, f"`{made_by['command']}`", origin]


def main() -> None:
    """Print the table and write it to ``results/targets.md``."""
    heads = ["what", "against", "target", "reached, median (range)", "met", "measured by", "commit, machine"]
    lines = markdown_table(heads, "llrrl", map(cells, TARGETS))
    note = (
        "Every figure is read from the result of its command in this folder; the result also has the measured limit\n"
        "of a figure that misses its target. Ratios of interleaved rounds in one run, one thread."
    )
    table = "\n".join([*lines, "", note])
    (RESULTS / "targets.md").write_text(f"# targets\n\n`python -m benchmarks.summary`\n\n{table}\n")
    print(table)
