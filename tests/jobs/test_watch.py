"""The watch: several images in a row raise the alarm, and nothing less does."""

import pytest
import torch

from lib.jobs.watch import BrokenOutput, Watch, check_finite


@pytest.fixture
def alarms() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def watch(alarms: list) -> Watch:
    return Watch(lambda version, reason: alarms.append((version, reason)))


def fail(watch: Watch, version: str, image: str, error: Exception | None = None) -> None:
    with pytest.raises(type(error or BrokenOutput())), watch.over(version, image):
        raise error or BrokenOutput("no numbers")


def test_three_images_in_a_row_raise_it_once(watch: Watch, alarms: list) -> None:
    for image in "abc":
        assert not alarms
        fail(watch, "v2", image)
    ((version, reason),) = alarms
    assert version == "v2" and "3 images in a row" in reason and "BrokenOutput: no numbers" in reason


def test_an_answer_in_between_starts_anew(watch: Watch, alarms: list) -> None:
    for image in "abcdef":
        fail(watch, "v2", image)
        if image in "bd":
            with watch.over("v2", image):
                pass
    assert not alarms


def test_a_load_is_no_answer(watch: Watch, alarms: list) -> None:
    for image in "abc":
        with watch.over("v2", image, answers=False):
            pass
        fail(watch, "v2", image)
    assert alarms


def test_one_image_that_no_model_can_stand_is_no_reason(watch: Watch, alarms: list) -> None:
    for _ in range(10):
        fail(watch, "v2", "a")
    assert not alarms


def test_failures_of_two_versions_are_not_added(watch: Watch, alarms: list) -> None:
    for image, version in zip("abcd", ("v2", "v2", "v3", "v3"), strict=True):
        fail(watch, version, image)
    assert not alarms


@pytest.mark.parametrize("error", [MemoryError(), torch.cuda.OutOfMemoryError()])
def test_too_little_memory_is_no_models_fault(watch: Watch, alarms: list, error: Exception) -> None:
    for image in "abcd":
        fail(watch, "v2", image, error)
    assert not alarms


def test_an_alarm_that_fails_itself_leaves_the_first_error() -> None:
    def broken(version: str, reason: str) -> None:
        raise OSError("disk full")

    watch = Watch(broken, limit=1)
    fail(watch, "v2", "a")


def test_only_numbers_pass() -> None:
    whole = torch.ones(2, 3)
    assert check_finite(whole) is whole
    huge = torch.full((4,), 3e38)
    assert check_finite(huge) is huge, "their sum is too large for a number, they are not"
    for bad in ([1.0, torch.nan], [torch.inf, 1.0], [torch.inf, -torch.inf]):
        with pytest.raises(BrokenOutput):
            check_finite(torch.tensor(bad))
