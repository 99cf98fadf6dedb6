"""Rehearse several strategies and seeds in parallel; store each rehearsal as it ends, so a stopped one can resume."""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lib.data.files.runs import Runs
from lib.simulation import campaign, curves
from lib.simulation.campaign import Campaign, Plan, Point
from lib.simulation.plot import draw_curves
from lib.tasks.spec import RANDOM, load_app, scored_strategies

Progress = Callable[[int, int], None]


def rehearse(
    plan: Plan,
    strategies: Sequence[str],
    seeds: Sequence[int],
    out: Path,
    *,
    at_once: int = 1,
    progress: Progress = lambda done, of: None,
) -> dict[str, Any]:
    """Run every strategy with every seed, and write ``runs/``, ``findings.json``, ``table.md`` and ``curves.png``.

    All strategies of a seed share the first round. Rehearsals of the same plan in ``runs/`` are not repeated.

    Args:
        plan: Conditions of the rehearsals.
        strategies: Strategies that the app's server offers; the reference is `curves.REFERENCE`, or random without it.
        seeds: Seeds of random draws, trainings and the annotator.
        out: Output folder.
        at_once: Number of parallel servers.
        progress: Called after every round with (rounds done, rounds in all).
    Returns:
        The findings.
    Raises:
        ValueError: If ``runs/`` holds rehearsals of another plan.
    """
    results = Runs(out, plan_facts(plan))
    missing = {seed: [name for name in strategies if results.get(_run_name(name, seed)) is None] for seed in seeds}
    total = len(seeds) * (1 + len(strategies) * (plan.rounds - 1))
    done = total - sum(1 + len(names) * (plan.rounds - 1) for names in missing.values() if names)

    def count_round() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    with (
        TemporaryDirectory(prefix="rehearsal-", ignore_cleanup_errors=True) as scratch,
        ThreadPoolExecutor(at_once) as pool,
    ):
        first_rounds = {
            seed: pool.submit(Campaign(plan, seed, "", Path(scratch) / str(seed), count_round).begin)
            for seed, names in missing.items()
            if names
        }
        # Finish one seed after the other, so that an interrupted run has complete seeds to compare.
        jobs = [
            pool.submit(_finish, first_rounds[seed], name, Path(scratch) / f"{seed}-{name}", results)
            for seed in first_rounds
            for name in missing[seed]
        ]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return report({name: {s: p for s in seeds if (p := points(results, name, s))} for name in strategies}, out)


def report(runs: curves.CurvesByStrategy, out: Path) -> dict[str, Any]:
    """Write the findings of rehearsals, their table and their picture; return the findings."""
    reference = curves.REFERENCE if curves.REFERENCE in runs else RANDOM
    findings = curves.findings(runs, reference)
    answer = {"reference": reference, "findings": curves.as_json(findings)}
    (out / "findings.json").write_text(json.dumps(answer, indent=1))
    (out / "table.md").write_text(curves.table(findings, reference) + "\n")
    draw_curves(runs, out / "curves.png")
    return answer | {"picture": str(out / "curves.png")}


def points(results: Runs, strategy: str, seed: int) -> list[Point] | None:
    """Return the points of a rehearsal, None if it has not ended."""
    result = results.get(_run_name(strategy, seed))
    return campaign.points_from_json(result["points"]) if result else None


def known_strategies(plan: Plan) -> list[str]:
    """Return the names of all strategies that the server of a plan offers for its task."""
    tasks = load_app(plan.app_dir).tasks
    return [RANDOM, *(name for name, (task, _) in scored_strategies(tasks).items() if task.name == plan.task)]


def _finish(first_round: "Future[Campaign]", strategy: str, folder: Path, results: Runs) -> None:
    run = first_round.result().fork(strategy, folder)
    result = {"strategy": strategy, "seed": run.seed, "points": campaign.points_to_json(run.finish())}
    results.put(_run_name(strategy, run.seed), result)
    shutil.rmtree(folder, ignore_errors=True)


def _run_name(strategy: str, seed: int) -> str:
    return f"{strategy}-{seed}"


def plan_facts(plan: Plan) -> Mapping[str, Any]:
    """Return the parts of a plan that affect the results, as JSON values."""
    facts = asdict(plan) | {"person": [type(plan.person).__name__, asdict(plan.person)]}  # type: ignore[call-overload]
    facts |= {part: [case.id for case in getattr(plan, part)] for part in ("pool", "test")}
    facts["app"] = (plan.app_dir / "app.toml").read_text()
    return {key: value for key, value in facts.items() if key not in ("app_dir", "threads")}
