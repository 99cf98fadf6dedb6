"""The progress file from which Slicer draws its bars."""

import math
from pathlib import Path

import pytest

from lib.learning.loop.progress import TrainingProgress
from lib.tasks.training.training_stats import TrainingStats, read_stats


def progress_at(epoch: int, score: float) -> TrainingProgress:
    return TrainingProgress(epoch, 4, epoch * 10, 40, 0.5, score, seconds=30.0, eta_seconds=90.0)


def test_without_a_training_the_stats_are_empty(tmp_path: Path) -> None:
    assert read_stats(tmp_path) == {}


def test_stats_of_a_running_and_of_a_finished_training(tmp_path: Path) -> None:
    with TrainingStats(tmp_path, 4, interval_seconds=0) as stats:
        assert read_stats(tmp_path)["epoch"] == 0
        stats.report(progress_at(2, math.nan))
        now = read_stats(tmp_path)
        assert (now["epoch"], now["total_epochs"], now["best_metric"], now["eta"]) == (2, 4, 0.0, "0:01:30")
        assert "total_time" not in now, "Slicer reads this key as the end of the training"
        stats.report(progress_at(3, 0.7))
        stats.finish({"score": 0.7, "published": True})
    end = read_stats(tmp_path)
    assert end["status"] == "done" and end["best_metric"] == 0.7 and end["published"] and end["total_time"]


def test_a_failed_training_has_its_reason(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no labels"), TrainingStats(tmp_path, 4):
        raise ValueError("no labels")
    assert read_stats(tmp_path)["status"] == "failed" and "no labels" in read_stats(tmp_path)["reason"]


def test_stats_are_written_once_per_interval(tmp_path: Path) -> None:
    with TrainingStats(tmp_path, 4, interval_seconds=3600) as stats:
        stats.report(progress_at(2, 0.1))
        assert read_stats(tmp_path)["epoch"] == 0
