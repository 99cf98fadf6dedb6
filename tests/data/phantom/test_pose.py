"""Test that poses can be inverted and have plausible rotations."""

import numpy as np
import pytest

from lib.data.phantom.pose import draw_pose


@pytest.mark.parametrize("seed", range(4))
def test_world_and_canonical_maps_are_inverse(seed):
    pose = draw_pose(np.random.default_rng(seed))
    points = np.array([[0, 0, 0], [0, 90, 20], [5, 30, -60], [0, 10, -230.0]])
    assert np.allclose(pose.to_canonical(pose.to_world(points)), points, atol=0.1)


def test_rotation_is_proper_and_limited():
    for seed in range(20):
        pose = draw_pose(np.random.default_rng(seed))
        assert np.allclose(pose.rotation @ pose.rotation.T, np.eye(3))
        assert np.linalg.det(pose.rotation) == pytest.approx(1)
        assert pose.rotation[1, 1] > np.cos(np.deg2rad(30))
