"""Students: small networks that learn from the outputs of a large network and replace it where it is too slow."""

from lib.models.student.build import student_conv, student_topowmamba, student_vit_tiny
from lib.models.student.conv import StudentConv
from lib.models.student.vit import StudentViT

__all__ = ["StudentConv", "StudentViT", "student_conv", "student_topowmamba", "student_vit_tiny"]
