"""Test that each structure draws from a stream of its own."""

from lib.data.phantom.anatomy.streams import Streams


def test_a_stream_depends_on_the_seed_and_the_name_alone():
    first = Streams(3).of("nose").random(4).tolist()
    assert Streams(3).of("nose").random(4).tolist() == first
    assert Streams(4).of("nose").random(4).tolist() != first
    assert Streams(3).of("mouth").random(4).tolist() != first
