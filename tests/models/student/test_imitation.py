"""A student beside a teacher: features on one width, and nothing that reaches the teacher."""

import pytest
import torch
from torch import nn

from lib.models import BUILDERS
from lib.models.sam import sam_tiny
from lib.models.student.imitation import Imitation, width_of

STUDENTS = ("student_conv", "student_vit_tiny", "student_topowmamba")


def build(name: str, channels: int = 3, dims: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return BUILDERS[name](spatial_dims=dims, in_channels=channels, out_channels=3)


@pytest.mark.parametrize("name", STUDENTS)
def test_every_student_answers_with_its_features_and_without(name: str) -> None:
    network, image = build(name).eval(), torch.rand(1, 3, 40, 64)
    logits, features = network.answer(image)
    torch.testing.assert_close(logits, network(image))
    torch.testing.assert_close(features, network.encode(image))
    assert features.shape[1] == width_of(network, 2, 3) and features.shape[2] < 5


def test_a_students_own_mode_is_left_as_it_was() -> None:
    network = build("student_conv").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    width_of(network, 2, 3)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_prompted_teacher_sees_the_middle_slice_at_its_own_size() -> None:
    teacher = sam_tiny(32, rank=0)
    pair = Imitation(build("student_conv"), teacher, spatial_dims=2, in_channels=3).eval()
    image = torch.rand(2, 3, 32, 32)
    views = pair(image)
    assert views.logits is None and views.ours.shape[:2] == views.theirs.shape[:2] == (2, 256)
    torch.testing.assert_close(views.theirs, teacher.encode(image[:, 1:2]))
    assert pair(torch.rand(1, 3, 64, 64), answer=True).logits.shape == (1, 3, 64, 64)


def test_a_teacher_with_features_takes_its_channels() -> None:
    teacher = build("student_topowmamba", channels=1)
    pair = Imitation(build("student_conv"), teacher, spatial_dims=2, in_channels=3, channels=[2]).eval()
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(pair(image).theirs, teacher.eval().encode(image[:, 2:]))


def test_the_teacher_is_frozen_silent_and_not_in_the_state() -> None:
    teacher = build("student_topowmamba")
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    pair = Imitation(build("student_conv"), teacher, spatial_dims=2, in_channels=3).train()
    assert pair.student.training and not teacher.training
    views = pair(torch.rand(2, 3, 32, 32))
    views.ours.sum().backward()
    assert not views.theirs.requires_grad and all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    state = pair.state_dict()
    assert {name.split(".")[0] for name in state} == {"student", "projection"}
    pair.load_state_dict(state)
    with pytest.raises(RuntimeError, match="another imitation"):
        pair.load_state_dict({**state, "more": torch.zeros(1)})
