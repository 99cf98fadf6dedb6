import torch

from lib.learning.losses.imitation import imitation_loss
from lib.learning.recipes.imitate import Imitate
from lib.models import BUILDERS
from lib.models.student.imitation import Imitation


def test_student_and_projection_are_trained_and_the_teacher_is_frozen() -> None:
    torch.manual_seed(0)
    student, teacher = (
        BUILDERS[name](spatial_dims=2, in_channels=1, out_channels=2) for name in ("student_conv", "student_topowmamba")
    )
    pair, recipe = Imitation(student, teacher, spatial_dims=2, in_channels=1), Imitate()
    recipe.select_parameters(pair)
    image = torch.rand(2, 1, 32, 32)
    losses = recipe.step(pair.eval(), {"image": image})
    views = pair(image)
    assert losses["loss"].item() == imitation_loss(views.student, views.teacher).item()
    losses["loss"].backward()
    trained = {name.split(".")[0] for name, parameter in pair.named_parameters() if parameter.requires_grad}
    assert trained == {"student", "projection"} and all(p.grad is None for p in teacher.parameters())
