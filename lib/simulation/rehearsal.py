"""All strategies, all seeds: rehearsals side by side, each kept as it ends, so that an interrupted one goes on."""

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

    The first round is one for all strategies of a seed. What ``runs/`` holds of the same plan is not run again.

    Args:
        plan: What each is given.
        strategies: Names that the app's server offers; `curves.REFERENCE`, else random, is what they are held against.
        seeds: Of draws, trainings and the person's hand.
        out: Folder to fill.
        at_once: Servers side by side.
        progress: Called with (rounds done, rounds in all).
    Returns:
        The findings.
    Raises:
        ValueError: If ``runs/`` holds rehearsals of another plan.
    """
    kept = Runs(out, plan_facts(plan))
    missing = {seed: [name for name in strategies if kept.get(_name(name, seed)) is None] for seed in seeds}
    total = len(seeds) * (1 + len(strategies) * (plan.rounds - 1))
    done = total - sum(1 + len(names) * (plan.rounds - 1) for names in missing.values() if names)

    def told() -> None:
        nonlocal done
        done += 1
        progress(done, total)

    with (
        TemporaryDirectory(prefix="rehearsal-", ignore_cleanup_errors=True) as scratch,
        ThreadPoolExecutor(at_once) as pool,
    ):
        begun = {
            seed: pool.submit(Campaign(plan, seed, "", Path(scratch) / str(seed), told).begin)
            for seed, names in missing.items()
            if names
        }
        # Whole seeds first: whatever the time allows can be compared.
        jobs = [
            pool.submit(_finish, begun[seed], name, Path(scratch) / f"{seed}-{name}", kept)
            for seed in begun
            for name in missing[seed]
        ]
        try:
            for job in jobs:
                job.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return report({name: {s: p for s in seeds if (p := points(kept, name, s))} for name in strategies}, out)


def report(runs: curves.Runs, out: Path) -> dict[str, Any]:
    """Write the findings of runs, their table and their picture; return the findings."""
    reference = curves.REFERENCE if curves.REFERENCE in runs else RANDOM
    found = curves.findings(runs, reference)
    told = {"reference": reference, "findings": curves.as_json(found)}
    (out / "findings.json").write_text(json.dumps(told, indent=1))
    (out / "table.md").write_text(curves.table(found, reference) + "\n")
    draw_curves(runs, out / "curves.png")
    return told | {"picture": str(out / "curves.png")}


def points(kept: Runs, strategy: str, seed: int) -> list[Point] | None:
    """Return the points of a rehearsal, None if it did not end."""
    told = kept.get(_name(strategy, seed))
    return campaign.from_json(told["points"]) if told else None


def known_strategies(plan: Plan) -> list[str]:
    """Return the names of all strategies that a plan's server would offer for its task."""
    tasks = load_app(plan.app_dir).tasks
    return [RANDOM, *(name for name, (task, _) in scored_strategies(tasks).items() if task.name == plan.task)]


def _finish(begun: "Future[Campaign]", strategy: str, folder: Path, kept: Runs) -> None:
    run = begun.result().fork(strategy, folder)
    told = {"strategy": strategy, "seed": run.seed, "points": campaign.as_json(run.finish())}
    kept.put(_name(strategy, run.seed), told)
    shutil.rmtree(folder, ignore_errors=True)


def _name(strategy: str, seed: int) -> str:
    return f"{strategy}-{seed}"


def plan_facts(plan: Plan) -> Mapping[str, Any]:
    """Return all of a plan that what comes out depends on, as JSON has it."""
    told = asdict(plan) | {"person": [type(plan.person).__name__, asdict(plan.person)]}  # type: ignore[call-overload]
    told |= {part: [case.id for case in getattr(plan, part)] for part in ("pool", "test")}
    told["app"] = (plan.app_dir / "app.toml").read_text()
    return {key: value for key, value in told.items() if key not in ("app_dir", "threads")}
