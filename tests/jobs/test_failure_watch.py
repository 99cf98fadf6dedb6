"""The watch: failures on several different images in a row raise an alarm, fewer failures do not."""

import pytest
import torch

from lib.jobs.failure_watch import BrokenOutput, Watch, check_finite


@pytest.fixture
def alarms() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def watch(alarms: list) -> Watch:
    return Watch(lambda version, reason: alarms.append((version, reason)))


def fail(watch: Watch, version: str, image: str, error: Exception | None = None) -> None:
    with pytest.raises(type(error or BrokenOutput())), watch.observe(version, image):
        raise error or BrokenOutput("no numbers")


def test_failures_on_three_images_in_a_row_raise_one_alarm(watch: Watch, alarms: list) -> None:
    for image in "abc":
        assert not alarms
        fail(watch, "v2", image)
    ((version, reason),) = alarms
    assert version == "v2" and "3 images in a row" in reason and "BrokenOutput: no numbers" in reason


def test_an_answer_in_between_resets_the_count(watch: Watch, alarms: list) -> None:
    for image in "abcdef":
        fail(watch, "v2", image)
        if image in "bd":
            with watch.observe("v2", image):
                pass
    assert not alarms


def test_loading_a_version_does_not_reset_the_count(watch: Watch, alarms: list) -> None:
    for image in "abc":
        with watch.observe("v2", image, is_answer=False):
            pass
        fail(watch, "v2", image)
    assert alarms


def test_repeated_failures_on_one_image_raise_no_alarm(watch: Watch, alarms: list) -> None:
    for _ in range(10):
        fail(watch, "v2", "a")
    assert not alarms


def test_failures_of_two_versions_are_counted_separately(watch: Watch, alarms: list) -> None:
    for image, version in zip("abcd", ("v2", "v2", "v3", "v3"), strict=True):
        fail(watch, version, image)
    assert not alarms


@pytest.mark.parametrize("error", [MemoryError(), torch.cuda.OutOfMemoryError()])
def test_an_error_of_memory_is_not_counted(watch: Watch, alarms: list, error: Exception) -> None:
    for image in "abcd":
        fail(watch, "v2", image, error)
    assert not alarms


def test_an_error_of_the_alarm_does_not_replace_the_first_error() -> None:
    def broken(version: str, reason: str) -> None:
        raise OSError("disk full")

    watch = Watch(broken, limit=1)
    fail(watch, "v2", "a")


def test_only_finite_logits_pass() -> None:
    whole = torch.ones(2, 3)
    assert check_finite(whole) is whole
    huge = torch.full((4,), 3e38)
    assert check_finite(huge) is huge, "the values are finite although their sum overflows"
    for bad in ([1.0, torch.nan], [torch.inf, 1.0], [torch.inf, -torch.inf]):
        with pytest.raises(BrokenOutput):
            check_finite(torch.tensor(bad))
