"""Decide from the names of labels whether images may be mirrored, and which labels are then exchanged."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lib.ops.mirror import Mirroring

# fmt: off
LEFT_WORDS = frozenset((
    "left", "l", "lt", "lh", "lul", "lll", "links", "linke", "linker", "linkes", "linken", "li", "gauche", "g",
    "izquierdo", "izquierda", "esquerdo", "esquerda", "sinistro", "sinistra", "sx", "sin", "sinister", "sinistrum",
    "левый", "левая", "левое", "левые", "la", "lv", "laa", "lad", "lca", "lcx", "lpa",
))
RIGHT_WORDS = frozenset((
    "right", "r", "rt", "rh", "rul", "rml", "rll", "rechts", "rechte", "rechter", "rechtes", "rechten", "re",
    "droit", "droite", "d", "derecho", "derecha", "direito", "direita", "destro", "destra", "dx", "dex",
    "dexter", "dextra", "dextrum", "правый", "правая", "правое", "правые", "ra", "rv", "raa", "rca", "rpa",
))
_GLUED = {"left": "left", "links": "left", "gauche": "left", "right": "right", "rechts": "right", "droit": "right"}
"""Words for a side that are also written without a space, as in "leftkidney"."""
_GLUED_OTHERS = frozenset((
    "leftover", "cleft", "upright", "bright", "brightness", "downright", "outright", "adroit", "birthright",
))
_GLUED_ORGANS = frozenset((
    "adrenal", "amygdala", "ankle", "arm", "atrium", "breast", "carotid", "clavicle", "ear", "elbow", "eye", "femur",
    "fibula", "foot", "hand", "hemisphere", "hip", "hippocampus", "humerus", "iliac", "kidney", "knee", "leg", "lens",
    "lobe", "lung", "mandible", "maxilla", "orbit", "ovary", "parotid", "radius", "renal", "scapula", "shoulder",
    "sinus", "testis", "thalamus", "tibia", "ulna", "ureter", "ventricle", "wrist",
))
# fmt: on
SIDE_WORDS = LEFT_WORDS | RIGHT_WORDS
_ABBREVIATED = frozenset(word for word in SIDE_WORDS if word[1:] and {f"l{word[1:]}", f"r{word[1:]}"} <= SIDE_WORDS)
"""Words such as LV and RV that say a part after the side."""
"""Words for a side in the names of labels. LUL, LLL, RUL, RML and RLL are the lobes of the lungs; LA, LV, RA and RV the
chambers of the heart, and LAA, LAD, LCA, LCX, LPA, RAA, RCA and RPA vessels of it."""
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
        if wrong := [pair for pair in self.mirror_pairs if _side(pair[0]) == _side(pair[1]) != ""]:
            raise ValueError(f"mirror_pairs has {wrong[0][0]} and {wrong[0][1]}, which are on the same side")
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

    A name is divided into words at other characters than letters and in camel case. A word with "left" or "right" at
    one end has a side, except for words such as "cleft"; so has "lkidney", an organ after a single letter. The letters
    L and R before a digit are no side ("L4" is a vertebra), unless the counterpart is there too ("L4" and "R4").
    """
    names = list(labels)
    return [
        name
        for name in names
        if _has_side_word(name) or any(_are_counterparts(name.casefold(), other.casefold()) for other in names)
    ]


def mirror_pairs(labels: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of labels that differ in their side only, as (left, right); a label is in one pair at most."""
    lefts, rights = ([name for name in labels if _side(name) == side] for side in ("left", "right"))
    pairs = []
    for left in lefts:
        same = [right for right in rights if _without_side(right) == _without_side(left)]
        if len(same) == 1 and sum(_without_side(other) == _without_side(left) for other in lefts) == 1:
            pairs.append((left, same[0]))
    return pairs


def _without_side(name: str) -> tuple[str, ...]:
    """Return the words and numbers of a name in lower case, without its side."""
    kept = []
    for part in re.findall(r"[^\W\d_]+|\d+", _CAMEL_CASE.sub(" ", name)):
        word = part.casefold()
        if _word_side(word):
            word = _without_side_letters(word)
        if word:
            kept.append(word)
    return tuple(kept)


def _without_side_letters(word: str) -> str:
    """Return what a word with a side says beside it: "kidney" for "leftkidney" and "lkidney", "v" for "lv"."""
    if glued := next((text for text in _GLUED if word.startswith(text) or word.endswith(text)), ""):
        return word.replace(glued, "")
    return "" if word in SIDE_WORDS - _ABBREVIATED else word[1:]


def _has_side_word(name: str) -> bool:
    words = _WORD.findall(_CAMEL_CASE.sub(" ", name))
    is_side = any(_word_side(word.casefold()) and not (len(word) == 1 and digits) for word, digits in words)
    return is_side or not SIDE_CHARACTERS.isdisjoint(name)


def _word_side(word: str) -> str:
    """Return "left" or "right" if a word in lower case says so; empty otherwise."""
    for side, known in (("left", LEFT_WORDS), ("right", RIGHT_WORDS)):
        if word in known:
            return side
    if word[:1] in ("l", "r") and (word[1:] in _GLUED_ORGANS or word[1:-1] in _GLUED_ORGANS):  # singular or plural
        return "left" if word[0] == "l" else "right"
    if word in _GLUED_OTHERS:
        return ""
    return next((side for glued, side in _GLUED.items() if word.startswith(glued) or word.endswith(glued)), "")


def _side(name: str) -> str:
    """Return "left" or "right" if the name has such a word; empty otherwise."""
    words = {word.casefold() for word, digits in _WORD.findall(_CAMEL_CASE.sub(" ", name)) if not digits}
    sides = {_word_side(word) for word in words} - {""}
    return sides.pop() if len(sides) == 1 else ""


def _are_counterparts(one: str, other: str) -> bool:
    """Return whether two names differ only in left and right, or only in one letter l and r."""
    if one != other and one.replace("left", "right") == other.replace("left", "right"):
        return True
    different = [{a, b} for a, b in zip(one, other, strict=False) if a != b]
    return len(one) == len(other) and different == [{"l", "r"}]
