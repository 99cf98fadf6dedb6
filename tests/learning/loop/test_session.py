"""The training loop: learning, best weights, stopping and resuming, time limit, and steps without finite loss."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from lib.learning.loop.progress import TrainingProgress
from lib.learning.loop.session import MAX_SKIPS_IN_A_ROW, Diverged
from tests.learning.loop.squares import Squares, quick_recipe, tiny_network


def stop_after(step: int) -> Callable[[], bool]:
    """Return a function that returns True at its `step`-th call."""
    calls: Iterator[int] = iter(range(1, 10**6))
    return lambda: next(calls) == step


def have_equal_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def scripted_validation(*scores: float) -> tuple[Callable[..., Any], list[dict[str, torch.Tensor]]]:
    """Return a validation function that gives these scores in turn, and the list of the weights that it gets."""
    remaining, weights = iter(scores), []

    def validate(network: nn.Module, ranks: object) -> list[dict[str, Any]]:
        weights.append({name: value.clone() for name, value in network.state_dict().items()})
        return [{"case": "a", "scores": {"square": next(remaining)}}]

    return validate, weights


def test_the_loss_falls_and_the_score_rises(fit: Any) -> None:
    result = fit(quick_recipe(max_epochs=8))
    losses = [row["loss"] for row in result.history]
    assert losses[-1] < losses[0] / 2 and result.score > 0.9
    assert result.stopped == "finished" and result.steps == 32 and result.skipped == 0
    assert {"epoch", "step", "dice_ce", "learning_rate", "score", "dice_square"} <= set(result.history[-1])
    assert [case["case"] for case in result.metrics] == ["0", "1"]


def test_equal_seeds_give_equal_weights(fit: Any, tmp_path: Path) -> None:
    runs = [fit(quick_recipe(seed=seed), workdir=tmp_path / name) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    assert have_equal_weights(runs[0].state_dict, runs[1].state_dict)
    assert not have_equal_weights(runs[0].state_dict, runs[2].state_dict)


@pytest.mark.parametrize("step", [4, 6])
def test_a_resumed_run_gives_the_weights_of_an_uninterrupted_run(fit: Any, tmp_path: Path, step: int) -> None:
    whole = fit(workdir=tmp_path / "whole")
    part = fit(should_stop=stop_after(step))
    assert part.stopped == "requested" and part.steps == step
    rest = fit(network=tiny_network(seed=9))
    assert rest.stopped == "finished" and rest.steps == whole.steps == 16
    assert have_equal_weights(rest.state_dict, whole.state_dict)
    assert rest.seconds > part.seconds


def test_a_finished_run_is_not_repeated(fit: Any) -> None:
    first = fit()
    again = fit(network=tiny_network(seed=9), should_stop=lambda: pytest.fail("a step was taken"))
    assert (
        have_equal_weights(first.state_dict, again.state_dict)
        and again.steps == first.steps
        and again.metrics == first.metrics
    )


def test_more_epochs_continue_a_finished_run(fit: Any) -> None:
    fit(quick_recipe(max_epochs=2))
    assert [row["epoch"] for row in fit(quick_recipe(max_epochs=3)).history] == [1, 2, 3]


def test_without_resume_a_run_starts_from_the_beginning(fit: Any) -> None:
    fit(quick_recipe(max_epochs=2))
    assert fit(quick_recipe(max_epochs=1, learning_rate=0.5), resume=False).steps == 4


def test_a_run_with_other_options_cannot_be_resumed(fit: Any) -> None:
    fit(quick_recipe(max_epochs=1))
    with pytest.raises(ValueError, match=r"learning_rate 0\.02 -> 0\.5"):
        fit(quick_recipe(learning_rate=0.5))


def test_the_best_weights_are_kept_when_later_ones_are_worse(fit: Any) -> None:
    validate, weights = scripted_validation(0.5, 0.9, 0.1, 0.2)
    result = fit(validate=validate)
    assert (result.score, result.best_epoch) == (0.9, 2) and result.metrics[0]["scores"] == {"square": 0.9}
    assert have_equal_weights(result.state_dict, weights[1]) and not have_equal_weights(result.state_dict, weights[3])


def test_a_run_without_improvement_ends_after_the_patience(fit: Any) -> None:
    validate, _ = scripted_validation(0.5, 0.4, 0.3, 0.2)
    recipe = quick_recipe(early_stop_patience=2)
    result = fit(recipe, validate=validate)
    assert result.stopped == "early" and len(result.history) == 3 and result.best_epoch == 1
    assert fit(recipe, validate=validate).stopped == "early"


@pytest.mark.parametrize(("interval", "validated"), [(1, [1, 2, 3, 4]), (3, [3, 4]), (9, [4])])
def test_validation_runs_at_its_interval_and_after_the_last_epoch(
    fit: Any, interval: int, validated: list[int]
) -> None:
    validate, _ = scripted_validation(0.1, 0.2, 0.3, 0.4)
    result = fit(quick_recipe(val_interval=interval), validate=validate)
    assert [row["epoch"] for row in result.history if "score" in row] == validated


def test_without_validation_the_last_weights_are_the_best(fit: Any) -> None:
    network = tiny_network()
    result = fit(quick_recipe(ema_decay=0), network=network, validate=None)
    assert (
        have_equal_weights(result.state_dict, network.state_dict()) and result.metrics == [] and result.best_epoch == 0
    )


class SlowSquares(Squares):
    """Squares that take 10 ms each to load."""

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        time.sleep(0.01)
        return super().__getitem__(index)


def test_the_time_limit_ends_a_run_with_a_decayed_rate_and_a_validation(fit: Any) -> None:
    result = fit(quick_recipe(max_epochs=1000, max_minutes=0.5 / 60, val_interval=1000), patches=SlowSquares())
    assert result.stopped == "time" and 0 < result.steps < 4000 and result.seconds < 5
    assert result.metrics and result.history[-1]["learning_rate"] < 0.02 / 2


@pytest.mark.parametrize("validated", [True, False])
def test_an_interrupt_keeps_the_best_weights(fit: Any, validated: bool) -> None:
    validate, weights = scripted_validation(0.9, 0.1)

    def interrupt(progress: TrainingProgress) -> None:
        if progress.step == (10 if validated else 2):
            raise KeyboardInterrupt

    result = fit(validate=validate, progress=interrupt)
    assert result.stopped == "interrupted" and result.best_epoch == (1 if validated else 0)
    assert have_equal_weights(result.state_dict, weights[0]) if validated else not weights
    assert fit(validate=lambda *_: []).stopped == "finished"


class SquaresWithNan(Squares):
    """Squares of which some have nan images."""

    def __init__(self, nan_indices: range) -> None:
        super().__init__()
        self.nan_indices = nan_indices

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        patch = super().__getitem__(index)
        if index in self.nan_indices:
            patch["image"] = torch.full_like(patch["image"], torch.nan)
        return patch


def test_a_step_without_a_finite_loss_is_skipped_and_counted(fit: Any) -> None:
    result = fit(quick_recipe(max_epochs=2), patches=SquaresWithNan(range(4, 8)))
    assert result.skipped == 2 and result.steps == 8
    assert all(torch.isfinite(value).all() for value in result.state_dict.values())
    assert all(row["loss"] == row["loss"] for row in result.history)


def test_a_run_without_finite_losses_ends_with_an_error_and_a_remedy(fit: Any) -> None:
    with pytest.raises(Diverged, match=f"{MAX_SKIPS_IN_A_ROW} steps in a row .* lower learning_rate"):
        fit(quick_recipe(max_epochs=20), patches=SquaresWithNan(range(16)))


def test_progress_is_reported_after_every_step(fit: Any) -> None:
    reported: list[TrainingProgress] = []
    fit(quick_recipe(max_epochs=2), progress=reported.append)
    assert [(progress.epoch, progress.step) for progress in reported] == [
        (1 + step // 4, step + 1) for step in range(8)
    ]
    assert all(progress.steps == 8 for progress in reported) and reported[-1].eta_seconds == 0
