"""The loop itself: it learns, keeps the best, and survives stops, clocks and faults."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lib.learning.loop.progress import Standing
from lib.learning.loop.session import MAX_SKIPS_IN_A_ROW, Diverged
from tests.learning.loop.squares import Squares, quick, tiny_network


def stop_after(step: int) -> Callable[[], bool]:
    """Return a question that says yes the `step`-th time."""
    asked: Iterator[int] = iter(range(1, 10**6))
    return lambda: next(asked) == step


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def scripted(*scores: float) -> tuple[Callable[..., Any], list[dict[str, torch.Tensor]]]:
    """Return a judge that gives these scores in turn, and what it was shown."""
    left, shown = iter(scores), []

    def judge(network: nn.Module, ranks: object) -> list[dict[str, Any]]:
        shown.append({name: value.clone() for name, value in network.state_dict().items()})
        return [{"case": "a", "scores": {"square": next(left)}}]

    return judge, shown


def test_it_learns(fit: Any) -> None:
    result = fit(quick(max_epochs=8))
    losses = [row["loss"] for row in result.history]
    assert losses[-1] < losses[0] / 2 and result.score > 0.9
    assert result.stopped == "finished" and result.steps == 32 and result.skipped == 0
    assert {"epoch", "step", "dice_ce", "learning_rate", "score", "dice_square"} <= set(result.history[-1])
    assert [case["case"] for case in result.metrics] == ["0", "1"]


def test_a_seed_decides_everything(fit: Any, tmp_path: Path) -> None:
    runs = [fit(quick(seed=seed), workdir=tmp_path / name) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert equal(runs[0].state_dict, runs[1].state_dict)
    assert not equal(runs[0].state_dict, runs[2].state_dict)


@pytest.mark.parametrize("step", [4, 6])
def test_a_stopped_run_goes_on_as_if_it_never_stopped(fit: Any, tmp_path: Path, step: int) -> None:
    whole = fit(workdir=tmp_path / "whole")
    part = fit(should_stop=stop_after(step))
    assert part.stopped == "requested" and part.steps == step
    rest = fit(network=tiny_network(seed=9))
    assert rest.stopped == "finished" and rest.steps == whole.steps == 16
    assert equal(rest.state_dict, whole.state_dict)
    assert rest.seconds > part.seconds


def test_a_finished_run_is_not_run_again(fit: Any) -> None:
    first = fit()
    again = fit(network=tiny_network(seed=9), should_stop=lambda: pytest.fail("a step was taken"))
    assert equal(first.state_dict, again.state_dict) and again.steps == first.steps and again.metrics == first.metrics


def test_more_epochs_continue_a_finished_run(fit: Any) -> None:
    fit(quick(max_epochs=2))
    assert [row["epoch"] for row in fit(quick(max_epochs=3)).history] == [1, 2, 3]


def test_without_resume_it_starts_afresh(fit: Any) -> None:
    fit(quick(max_epochs=2))
    assert fit(quick(max_epochs=1, learning_rate=0.5), resume=False).steps == 4


def test_other_options_do_not_resume(fit: Any) -> None:
    fit(quick(max_epochs=1))
    with pytest.raises(ValueError, match=r"learning_rate 0\.02 -> 0\.5"):
        fit(quick(learning_rate=0.5))


def test_the_best_weights_are_kept_when_later_ones_are_worse(fit: Any) -> None:
    judge, shown = scripted(0.5, 0.9, 0.1, 0.2)
    result = fit(judge=judge)
    assert (result.score, result.best_epoch) == (0.9, 2) and result.metrics[0]["scores"] == {"square": 0.9}
    assert equal(result.state_dict, shown[1]) and not equal(result.state_dict, shown[3])


def test_patience_ends_a_run_that_gains_nothing(fit: Any) -> None:
    judge, _ = scripted(0.5, 0.4, 0.3, 0.2)
    recipe = quick(early_stop_patience=2)
    result = fit(recipe, judge=judge)
    assert result.stopped == "early" and len(result.history) == 3 and result.best_epoch == 1
    assert fit(recipe, judge=judge).stopped == "early"


@pytest.mark.parametrize(("interval", "judged"), [(1, [1, 2, 3, 4]), (3, [3, 4]), (9, [4])])
def test_validation_interval_and_the_last_epoch(fit: Any, interval: int, judged: list[int]) -> None:
    judge, _ = scripted(0.1, 0.2, 0.3, 0.4)
    result = fit(quick(val_interval=interval), judge=judge)
    assert [row["epoch"] for row in result.history if "score" in row] == judged


def test_without_a_judge_the_last_weights_are_the_best(fit: Any) -> None:
    network = tiny_network()
    result = fit(quick(ema_decay=0), network=network, judge=None)
    assert equal(result.state_dict, network.state_dict()) and result.metrics == [] and result.best_epoch == 0


class Slow(Squares):
    """Squares that take their time."""

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        time.sleep(0.01)
        return super().__getitem__(index)


def test_the_clock_ends_a_run_decayed_and_judged(fit: Any) -> None:
    result = fit(quick(max_epochs=1000, max_minutes=0.5 / 60, val_interval=1000), patches=Slow())
    assert result.stopped == "time" and 0 < result.steps < 4000 and result.seconds < 5
    assert result.metrics and result.history[-1]["learning_rate"] < 0.02 / 2


@pytest.mark.parametrize("judged", [True, False])
def test_an_interrupt_keeps_the_best_weights(fit: Any, judged: bool) -> None:
    judge, shown = scripted(0.9, 0.1)

    def interrupt(standing: Standing) -> None:
        if standing.step == (10 if judged else 2):
            raise KeyboardInterrupt

    result = fit(judge=judge, progress=interrupt)
    assert result.stopped == "interrupted" and result.best_epoch == (1 if judged else 0)
    assert equal(result.state_dict, shown[0]) if judged else not shown
    assert fit(judge=lambda *_: []).stopped == "finished"


class Spoilt(Squares):
    """Squares of which some are not numbers."""

    def __init__(self, spoilt: range) -> None:
        super().__init__()
        self.spoilt = spoilt

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        patch = super().__getitem__(index)
        if index in self.spoilt:
            patch["image"] = torch.full_like(patch["image"], torch.nan)
        return patch


def test_a_step_without_a_finite_loss_is_left_out_and_counted(fit: Any) -> None:
    result = fit(quick(max_epochs=2), patches=Spoilt(range(4, 8)))
    assert result.skipped == 2 and result.steps == 8
    assert all(torch.isfinite(value).all() for value in result.state_dict.values())
    assert all(row["loss"] == row["loss"] for row in result.history)


def test_a_run_without_finite_losses_ends_with_advice(fit: Any) -> None:
    with pytest.raises(Diverged, match=f"{MAX_SKIPS_IN_A_ROW} steps in a row .* lower learning_rate"):
        fit(quick(max_epochs=20), patches=Spoilt(range(16)))


def test_progress_tells_where_the_run_stands(fit: Any) -> None:
    seen: list[Standing] = []
    fit(quick(max_epochs=2), progress=seen.append)
    assert [(standing.epoch, standing.step) for standing in seen] == [(1 + step // 4, step + 1) for step in range(8)]
    assert all(standing.steps == 8 for standing in seen) and seen[-1].eta_seconds == 0
