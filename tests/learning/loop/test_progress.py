"""Training progress: remaining time, log lines and the bar."""

import logging
import math

import pytest

from lib.learning.loop.progress import ProgressBar, ProgressLog, TrainingProgress, eta_seconds, format_duration


def progress_at(step: int, score: float = math.nan) -> TrainingProgress:
    return TrainingProgress(1, 2, step, 10, 0.5, score, 1.0, 3661.0)


@pytest.mark.parametrize(("done", "left"), [(0.0, math.inf), (0.25, 30.0), (1.0, 0.0)])
def test_remaining_time(done: float, left: float) -> None:
    assert eta_seconds(10.0, done) == pytest.approx(left)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00:00"), (59.6, "0:01:00"), (3661, "1:01:01"), (math.inf, "?")])
def test_format_duration(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_the_text_has_the_best_score_after_a_validation() -> None:
    assert str(progress_at(1)) == "epoch 1/2, loss 0.500, 1:01:01 left"
    assert "best Dice 0.700" in str(progress_at(1, 0.7))


def test_log_lines_keep_their_interval_and_the_last_step_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    report = ProgressLog(interval_seconds=60)
    with caplog.at_level(logging.INFO, "lib.learning.loop.progress"):
        for step in range(1, 11):
            report(progress_at(step))
    report.close()
    assert len(caplog.records) == 2


def test_the_bar_is_drawn_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    bar = ProgressBar()
    bar(progress_at(3))
    bar.close()
    captured = capsys.readouterr()
    assert "epoch 1/2" in captured.err and not captured.out
