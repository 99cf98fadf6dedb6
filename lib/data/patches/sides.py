"""Decide from the names of labels whether images may be mirrored, and which labels are then exchanged."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lib.ops.mirror import Mirroring

# fmt: off
LEFT_WORDS = frozenset((
    "left", "l", "lt", "lh", "lul", "lll", "links", "linke", "linker", "linkes", "linken", "li", "gauche", "g",
    "izquierdo", "izquierda", "esquerdo", "esquerda", "sinistro", "sinistra", "sx", "sin", "sinister", "sinistrum",
    "lewy", "lewa", "lewe", "vänster", "vänstra", "venstre", "levý", "levá", "levé",
    "αριστερά", "αριστερός", "bal", "vasen", "sol", "os", "lvot", "lica", "leca", "lmca", "lvmyo",
    "la", "lv", "laa", "lad", "lca", "lcx", "lpa",
))
RIGHT_WORDS = frozenset((
    "right", "r", "rt", "rh", "rul", "rml", "rll", "rechts", "rechte", "rechter", "rechtes", "rechten", "re",
    "droit", "droite", "d", "derecho", "derecha", "direito", "direita", "destro", "destra", "dx", "dex",
    "dexter", "dextra", "dextrum", "prawy", "prawa", "prawe", "höger", "högra", "høyre", "højre", "pravý", "pravá",
    "pravé", "δεξιά", "δεξιός", "jobb", "oikea", "sağ", "od", "rvot", "rica", "reca", "rmca", "rvmyo",
    "ra", "rv", "raa", "rca", "rpa",
))
_GLUED = {
    "left": "left", "links": "left", "linker": "left", "linke": "left", "gauche": "left", "лев": "left", "лів": "left",
    "right": "right", "rechts": "right", "rechter": "right", "rechte": "right", "droit": "right", "прав": "right",
}
"""Words for a side that are also written without a space, as in "leftkidney"."""
_OPPOSITE = {
    "left": ("right",), "l": ("r",), "lt": ("rt",), "lh": ("rh",), "lul": ("rul",), "lll": ("rll",),
    "links": ("rechts",), "linke": ("rechte",), "linker": ("rechter",), "linkes": ("rechtes",), "linken": ("rechten",),
    "gauche": ("droit", "droite"), "izquierdo": ("derecho",), "izquierda": ("derecha",), "esquerdo": ("direito",),
    "esquerda": ("direita",), "sinistro": ("destro",), "sinistra": ("destra",), "sx": ("dx",), "sinister": ("dexter",),
    "os": ("od",), "la": ("ra",), "lv": ("rv",), "laa": ("raa",), "lca": ("rca",), "lpa": ("rpa",),
}
"""Words for the right side by those for the left, where no other meaning is likely."""
_GLUED_OTHERS = frozenset((
    "leftover", "cleft", "upright", "bright", "brightness", "downright", "outright", "adroit", "birthright",
))
_GLUED_ORGANS = frozenset((
    "adrenal", "amygdala", "ankle", "arm", "atrium", "breast", "carotid", "clavicle", "ear", "elbow", "eye", "femur",
    "fibula", "foot", "hand", "hemisphere", "hip", "hippocampus", "humerus", "iliac", "iliopsoas", "kidney", "knee",
    "leg", "lens", "lobe", "lung", "mandible", "maxilla", "orbit", "ovary", "parotid", "psoas", "radius", "renal",
    "scapula", "shoulder", "sinus", "testis", "thalamus", "tibia", "ulna", "ureter", "ventricle", "wrist",
))
# fmt: on
SIDE_WORDS = LEFT_WORDS | RIGHT_WORDS
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
    """Return the pairs of labels that differ in one word for the side, as (left, right).

    A label is in one pair at most. A letter alone is no side here: labels "A", "B", ... have no counterparts.
    """
    words = {name: _words(name) for name in labels}
    pairs = []
    for left in labels:
        opposite = [right for right in labels if words[right] in _mirrored(words[left])]
        twins = [other for other in labels if opposite and words[opposite[0]] in _mirrored(words[other])]
        if len(opposite) == 1 and twins == [left]:
            pairs.append((left, opposite[0]))
    return pairs


def _words(name: str) -> tuple[str, ...]:
    return tuple(part.casefold() for part in re.findall(r"[^\W\d_]+|\d+", _CAMEL_CASE.sub(" ", name)))


def _mirrored(words: tuple[str, ...]) -> set[tuple[str, ...]]:
    """Return the names that the counterpart of a left structure may have."""
    found = set()
    for k, word in enumerate(words):
        others = list(_OPPOSITE.get(word, ()))
        if len(word) == 1 and len(words) == 1:
            others = []
        for left, rights in _OPPOSITE.items():
            if len(left) > 3 and word != left and (word.startswith(left) or word.endswith(left)):
                others += [word.replace(left, right) for right in rights]
        if word[:1] == "l" and (word[1:] in _GLUED_ORGANS or word[1:-1] in _GLUED_ORGANS):
            others.append(f"r{word[1:]}")
        found |= {(*words[:k], other, *words[k + 1 :]) for other in others}
    return found


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
