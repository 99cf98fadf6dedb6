"""Test that each structure has its own random stream."""

from lib.data.phantom.anatomy.streams import Streams


def test_a_stream_depends_only_on_seed_and_name():
    first = Streams(3).of("nose").random(4).tolist()
    assert Streams(3).of("nose").random(4).tolist() == first
    assert Streams(4).of("nose").random(4).tolist() != first
    assert Streams(3).of("mouth").random(4).tolist() != first
