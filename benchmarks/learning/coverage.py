"""Coverage of 95 % intervals of a mean difference with few patients: of normal differences, and of our own.

``python -m benchmarks.coverage``; every interval of the project is the one in `lib.evaluation.intervals`.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special

from benchmarks.harness.paths import RESULTS
from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table
from lib.evaluation.intervals import CONFIDENCE, STUDENT_LEVEL, mean_interval

AIRWAY = "airway"
"""Name of all labels together in the stored results."""
COUNTS = (3, 5, 8, 20)
RESAMPLES, SMALLEST_POOL, CLOSE = 1000, 20, 1e-12
"""Bootstrap resamples; cases that a comparison needs to be resampled; distance below which numbers are equal."""
TAIL = (1 - CONFIDENCE) / 2
NORMAL, OWN = "normal", "own, all comparisons"

Samples = NDArray[np.float64]
Ends = tuple[Samples, Samples]
Method = Callable[[Samples, np.random.Generator], Ends]


def chosen(samples: Samples, rng: np.random.Generator) -> Ends:
    """Return the ends of `mean_interval` for each row of ``samples (T, n)``."""
    found = [mean_interval(row) for row in samples.tolist()]
    return np.array([one.low for one in found]), np.array([one.high for one in found])


def student(samples: Samples, rng: np.random.Generator) -> Ends:
    """Return Student's intervals at the nominal level."""
    count, means = samples.shape[1], samples.mean(1)
    half = special.stdtrit(count - 1, 1 - TAIL) * samples.std(1, ddof=1) / count**0.5
    return means - half, means + half


def percentile(samples: Samples, rng: np.random.Generator) -> Ends:
    """Return percentile bootstrap intervals (Efron & Tibshirani 1993, ch. 13)."""
    low, high = np.percentile(_resampled_means(samples, rng), [100 * TAIL, 100 - 100 * TAIL], axis=1)
    return low, high


def bca(samples: Samples, rng: np.random.Generator) -> Ends:
    """Return bias-corrected and accelerated bootstrap intervals (Efron 1987)."""
    means, middle = np.sort(_resampled_means(samples, rng)), samples.mean(1, keepdims=True)
    below = (means < middle - CLOSE).mean(1) + (np.abs(means - middle) <= CLOSE).mean(1) / 2
    bias = special.ndtri(np.clip(below, 1 / RESAMPLES, 1 - 1 / RESAMPLES))
    off = samples - middle
    cubes, squares = (off**3).sum(1), (off**2).sum(1) ** 1.5
    acceleration = np.divide(cubes, 6 * squares, out=np.zeros_like(cubes), where=squares > 0)
    ends = []
    for quantile in special.ndtri([TAIL, 1 - TAIL]):
        level = special.ndtr(bias + (bias + quantile) / (1 - acceleration * (bias + quantile)))
        ends.append(means[np.arange(len(means)), np.clip((level * RESAMPLES).astype(int), 0, RESAMPLES - 1)])
    return ends[0], ends[1]


def sign_flips(samples: Samples, rng: np.random.Generator) -> Ends:
    """Return the inverted permutation test of signs: order statistics of the means of all subsets (Hartigan 1969)."""
    count = samples.shape[1]
    subsets = np.array(list(itertools.product((0, 1), repeat=count)))[1:]
    means = np.sort(samples @ (subsets / subsets.sum(1, keepdims=True)).T)
    rank = max(1, int(TAIL * 2**count))
    return means[:, rank - 1], means[:, -rank]


METHODS: dict[str, Method] = {
    f"Student's t, {STUDENT_LEVEL:.0%} (chosen)": chosen,
    f"Student's t, {CONFIDENCE:.0%}": student,
    "percentile bootstrap": percentile,
    "BCa bootstrap": bca,
    "sign flips": sign_flips,
}


def _resampled_means(samples: Samples, rng: np.random.Generator) -> Samples:
    count = samples.shape[1]
    return samples @ rng.multinomial(count, [1 / count] * count, RESAMPLES).T / count


def own_differences() -> dict[str, Samples]:
    """Return the differences per case of every stored comparison of two networks on at least `SMALLEST_POOL` cases."""
    found = {**_peers(), **_students(), **_arms()}
    return {name: np.array(values) for name, values in found.items() if len(values) >= SMALLEST_POOL}


def _peers() -> dict[str, list[float]]:
    """Return the differences in mean Dice and in clDice of the airway, for every pair of trained networks."""
    rows = {name: row["cases"] for name, row in _stored("peers")["rows"].items() if "seconds_per_case" in row}
    # VM-UNet learned nothing in its four minutes, and its Dice is 0 in every case.
    rows = {name: cases for name, cases in rows.items() if any(case["mean"]["dice"] for case in cases.values())}
    picks = {"Dice": lambda case: case["mean"]["dice"], "clDice": lambda case: case["classes"][AIRWAY]["cl_dice"]}
    return {
        f"{one} - {other}, {score}": [pick(case) - pick(rows[other][name]) for name, case in rows[one].items()]
        for one, other in itertools.combinations(rows, 2)
        for score, pick in picks.items()
    }


def _students() -> dict[str, list[float]]:
    """Return the differences in mean Dice between the student's runtimes and its teacher."""
    rows = _stored("students")["held_out"]

    def mean_dice(scores: Mapping[str, float | None]) -> float:
        return float(np.mean([value for name, value in scores.items() if name != AIRWAY and value is not None]))

    teacher = [mean_dice(scores) for scores in rows.pop("teacher")]
    return {
        f"{name} - teacher": [mean_dice(scores) - other for scores, other in zip(cases, teacher, strict=True)]
        for name, cases in rows.items()
    }


def _arms() -> dict[str, list[float]]:
    """Return the differences in Dice between each arm of the distillation and training from scratch, all seeds."""
    runs = {
        (run["arm"], run["labels"], run["seed"]): {case["case"]: case["scores"][AIRWAY] for case in run["cases"]}
        for name, run in _stored("distillation_runs").items()
        if name.startswith("runs/")
    }
    found: dict[str, list[float]] = {}
    for (arm, labels, seed), cases in runs.items():
        scratch = runs.get(("scratch", labels, seed))
        if scratch and arm not in ("scratch", "teacher"):
            name = f"{arm} - scratch, {labels} labels"
            found.setdefault(name, []).extend(dice - scratch[case] for case, dice in cases.items())
    return found


def _stored(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text())


def coverage(method: Method, samples: Samples, truth: float, rng: np.random.Generator) -> dict[str, float]:
    """Return the share of intervals that hold the true mean, and the shares that lie above and below it."""
    low, high = method(samples, rng)
    above, below = float(np.mean(low > truth + CLOSE)), float(np.mean(high < truth - CLOSE))
    return {"covered": 1 - above - below, "above": above, "below": below}


def run(trials: int, seed: int) -> list[dict[str, Any]]:
    """Return one row per method, number of cases and population."""
    pools = own_differences()
    # In units of each comparison's standard deviation, so that each counts alike.
    together = np.concatenate([(values - values.mean()) / values.std() for values in pools.values()])
    populations: dict[str, Samples] = {OWN: together, **pools}
    rows = []
    for (name, method), count in itertools.product(METHODS.items(), COUNTS):
        if method is sign_flips and count > max(COUNTS[:-1]):
            continue  # a million subsets; with so many cases it is close to Student's
        rng = np.random.default_rng([seed, count])
        drawn = {NORMAL: (rng.normal(size=(trials, count)), 0.0)}
        drawn |= {title: (rng.choice(pool, (trials, count)), float(pool.mean())) for title, pool in populations.items()}
        rows += [
            {"method": name, "cases": count, "population": title} | coverage(method, samples, truth, rng)
            for title, (samples, truth) in drawn.items()
        ]
    return rows


def table(rows: list[dict[str, Any]]) -> str:
    """Render coverage of normal and of our differences, and the one-sided errors of the lower bound."""
    heads = ["cases", "method", NORMAL, OWN, "each comparison: mean (range)", "lower bound too high, normal / own"]
    lines = []
    for count, name in itertools.product(COUNTS, METHODS):
        found = {row["population"]: row for row in rows if (row["cases"], row["method"]) == (count, name)}
        if found:
            single = [row["covered"] for title, row in found.items() if title not in (NORMAL, OWN)]
            cells = [f"{100 * found[title]['covered']:.1f} %" for title in (NORMAL, OWN)]
            spread = f"{100 * np.mean(single):.1f} % ({100 * min(single):.1f}-{100 * max(single):.1f})"
            errors = " / ".join(f"{100 * found[title]['above']:.1f} %" for title in (NORMAL, OWN))
            lines.append([str(count), name, *cells, spread, errors])
    return "\n".join(markdown_table(heads, "llr", lines))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=3000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rows = run(options.trials, options.seed)
    error = 100 * (0.95 * 0.05 / options.trials) ** 0.5
    comparisons = len({row["population"] for row in rows} - {NORMAL, OWN})
    note = (
        f"\nCoverage of 95 % intervals over {options.trials} samples, standard error {error:.1f} %. 'Own': the"
        f" differences\nper case of {comparisons} comparisons in `peers`, `students` and `distillation_runs`, drawn"
        " with replacement;\n'all comparisons' draws from all of them, each centred and divided by its standard"
        " deviation. The last column is the\ngate's one-sided error: it publishes a version that is worse by exactly"
        " the tolerance. Single comparisons are covered\nless where a few cases fail: a sample without such a case"
        " cannot tell, whatever the method."
    )
    command = f"python -m benchmarks.coverage --trials {options.trials} --seed {options.seed}"
    write_result("coverage", command, {"rows": rows}, table(rows) + "\n" + note)
