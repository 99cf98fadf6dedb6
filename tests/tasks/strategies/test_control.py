"""The control arm has the requested share of studies, and a larger share includes a smaller one."""

import pytest

from lib.tasks.strategies.control import is_blank

NAMES = [f"study {number}" for number in range(5000)]


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_share_of_blank_studies_is_as_requested(share: float) -> None:
    assert sum(is_blank(name, share) for name in NAMES) / len(NAMES) == pytest.approx(share, abs=0.02)


def test_a_larger_share_includes_all_studies_of_a_smaller_share() -> None:
    assert all(is_blank(name, 0.3) for name in NAMES if is_blank(name, 0.1))
