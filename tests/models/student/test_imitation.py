"""Student and teacher features have the same channels, and the teacher is frozen."""

import pytest
import torch
from torch import nn

from lib.models import BUILDERS
from lib.models.sam import sam_tiny
from lib.models.student.imitation import Imitation, feature_channels

STUDENTS = ("student_conv", "student_vit_tiny", "student_topowmamba")


def build(name: str, channels: int = 3, dims: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return BUILDERS[name](spatial_dims=dims, in_channels=channels, out_channels=3)


@pytest.mark.parametrize("name", STUDENTS)
def test_every_student_returns_logits_and_features(name: str) -> None:
    network, image = build(name).eval(), torch.rand(1, 3, 40, 64)
    logits, features = network.forward_with_features(image)
    torch.testing.assert_close(logits, network(image))
    torch.testing.assert_close(features, network.encode(image))
    assert features.shape[1] == feature_channels(network, 2, 3) and features.shape[2] < 5


def test_counting_feature_channels_does_not_change_the_student() -> None:
    network = build("student_conv").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    feature_channels(network, 2, 3)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_prompted_teacher_gets_the_middle_slice_at_its_own_size() -> None:
    teacher = sam_tiny(32, rank=0)
    pair = Imitation(build("student_conv"), teacher, spatial_dims=2, in_channels=3).eval()
    image = torch.rand(2, 3, 32, 32)
    features = pair(image)
    assert features.logits is None and features.student.shape[:2] == features.teacher.shape[:2] == (2, 256)
    torch.testing.assert_close(features.teacher, teacher.encode(image[:, 1:2]))
    assert pair(torch.rand(1, 3, 64, 64), with_logits=True).logits.shape == (1, 3, 64, 64)


def test_a_teacher_network_gets_its_channels() -> None:
    teacher = build("student_topowmamba", channels=1)
    pair = Imitation(build("student_conv"), teacher, spatial_dims=2, in_channels=3, channels=[2]).eval()
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(pair(image).teacher, teacher.eval().encode(image[:, 2:]))


def test_the_teacher_is_frozen_and_not_in_the_state_dict() -> None:
    teacher = build("student_topowmamba")
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    pair = Imitation(build("student_conv"), teacher, spatial_dims=2, in_channels=3).train()
    assert pair.student.training and not teacher.training
    features = pair(torch.rand(2, 3, 32, 32))
    features.student.sum().backward()
    assert not features.teacher.requires_grad and all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    state = pair.state_dict()
    assert {name.split(".")[0] for name in state} == {"student", "projection"}
    pair.load_state_dict(state)
    with pytest.raises(RuntimeError, match="state dict does not fit this imitation"):
        pair.load_state_dict({**state, "more": torch.zeros(1)})
