import torch

from lib.learning.losses.imitation import imitation_loss
from lib.learning.recipes.imitate import Imitate
from lib.models import BUILDERS
from lib.models.student.imitation import Imitation


def test_the_student_and_its_projection_learn_and_the_teacher_does_not() -> None:
    torch.manual_seed(0)
    student, teacher = (
        BUILDERS[name](spatial_dims=2, in_channels=1, out_channels=2) for name in ("student_conv", "student_topowmamba")
    )
    pair, recipe = Imitation(student, teacher, spatial_dims=2, in_channels=1), Imitate()
    recipe.prepare(pair)
    image = torch.rand(2, 1, 32, 32)
    losses = recipe.step(pair.eval(), {"image": image})
    views = pair(image)
    assert losses["loss"].item() == imitation_loss(views.ours, views.theirs).item()
    losses["loss"].backward()
    learns = {name.split(".")[0] for name, each in pair.named_parameters() if each.requires_grad}
    assert learns == {"student", "projection"} and all(each.grad is None for each in teacher.parameters())
