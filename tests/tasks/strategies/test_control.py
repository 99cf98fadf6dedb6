"""The lot: the same for everybody, and as often as was asked for."""

import pytest

from lib.tasks.strategies.control import is_blank

NAMES = [f"study {number}" for number in range(5000)]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_as_many_as_asked_for(share: float) -> None:
    assert sum(is_blank(name, share) for name in NAMES) / len(NAMES) == pytest.approx(share, abs=0.02)


def test_a_larger_share_takes_more_and_leaves_none() -> None:
    assert all(is_blank(name, 0.3) for name in NAMES if is_blank(name, 0.1))
