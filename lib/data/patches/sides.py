"""Decide from the names of labels whether images may be mirrored, and which labels are then exchanged."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lib.ops.mirror import Mirroring

# fmt: off
SIDE_WORDS = frozenset((
    "left", "right", "l", "r", "lt", "rt", "lh", "rh", "lul", "lll", "rul", "rml", "rll",
    "links", "linke", "linker", "linkes", "linken", "rechts", "rechte", "rechter", "rechtes", "rechten",
    "gauche", "droit", "droite", "izquierdo", "izquierda", "derecho", "derecha",
    "esquerdo", "esquerda", "direito", "direita", "sinistro", "sinistra", "sx", "destro", "destra", "dx",
    "sinister", "sinistrum", "dexter", "dextra", "dextrum",
    "левый", "левая", "левое", "левые", "правый", "правая", "правое", "правые",
))
# fmt: on
"""Words for a side in the names of labels; LUL, LLL, RUL, RML and RLL are the lobes of the lungs."""
SIDE_CHARACTERS = frozenset("左右")
"""Characters for a side in scripts that do not separate words."""
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"([^\W\d_]+)(\d*)")


@dataclass(frozen=True)
class AugmentSpec:
    """The augmentation that a task declares in its block ``augment``.

    Args:
        mirror: Whether images are mirrored left to right, in training and in test-time augmentation. None, for no key,
            mirrors unless a label has a side and is not in `mirror_pairs`.
        mirror_pairs: Pairs of labels that are each other's mirror image; a mirrored image exchanges them.
    """

    mirror: bool | None = None
    mirror_pairs: tuple[tuple[str, str], ...] = ()

    def mirroring(self, labels: Sequence[str]) -> Mirroring | None:
        """Return which classes a mirrored image exchanges, or None if images must not be mirrored.

        Args:
            labels: Names of the classes 1, 2, ...
        Raises:
            ValueError: If `mirror_pairs` names an unknown label or a label twice, or if images are to be mirrored and a
                label with a side has no pair.
        """
        named = [name for pair in self.mirror_pairs for name in pair]
        if unknown := [name for name in named if name not in labels]:
            raise ValueError(f"mirror_pairs has no label {', '.join(unknown)}; the labels are {', '.join(labels)}")
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"mirror_pairs has {', '.join(twice)} more than once; a label is in one pair at most")
        uncovered = [name for name in sided_labels(labels) if name not in named]
        mirror = bool(named) or not uncovered if self.mirror is None else self.mirror
        if mirror and uncovered:
            raise ValueError(
                f"the names {', '.join(uncovered)} have a side, and a mirrored image shows the other side under "
                'the same name: add them to mirror_pairs = [["LEFT", "RIGHT"]] with their counterparts, or write '
                "mirror = false"
            )
        if not mirror:
            return None
        return Mirroring(tuple((labels.index(one) + 1, labels.index(other) + 1) for one, other in self.mirror_pairs))


def sided_labels(labels: Iterable[str]) -> list[str]:
    """Return the names with a side: by a word of `SIDE_WORDS`, or because another name is their counterpart.

    A name is divided into words at other characters than letters and in camel case, so that "cleft" and "upright" have
    no side. The single letters L and R before a digit are no side ("L4" is a vertebra), unless the counterpart is
    there too ("L4" and "R4").
    """
    names = list(labels)
    return [
        name
        for name in names
        if _has_side_word(name) or any(_are_counterparts(name.casefold(), other.casefold()) for other in names)
    ]


def _has_side_word(name: str) -> bool:
    words = _WORD.findall(_CAMEL_CASE.sub(" ", name))
    is_side = any(word.casefold() in SIDE_WORDS and not (len(word) == 1 and digits) for word, digits in words)
    return is_side or not SIDE_CHARACTERS.isdisjoint(name)


def _are_counterparts(one: str, other: str) -> bool:
    """Return whether two names differ only in left and right, or only in one letter l and r."""
    if one != other and one.replace("left", "right") == other.replace("left", "right"):
        return True
    different = [{a, b} for a, b in zip(one, other, strict=False) if a != b]
    return len(one) == len(other) and different == [{"l", "r"}]
