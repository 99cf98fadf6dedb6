"""In which order cases are worth labelling, by the scores that a version gave them."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.evaluation.selection.diversity import k_centre, suggestive
from lib.records.scores import CaseScore
from lib.tasks.strategies.draw import drawn

TOPOLOGY = ("components", "centreline", "fragility")


@dataclass(frozen=True)
class Question:
    """What is to be ordered, and by what.

    Args:
        images: The cases without a final label, by name.
        scores: What one version says of cases, labelled ones among them.
        settled: Cases that are labelled, or with another annotator who will label them.
        over: The aggregation of uncertainty, "top" or "roi".
        label: A class to look at alone; empty for all.
        rng: Draws, and breaks no ties: of equals the first by name comes first.
    """

    images: Sequence[str]
    scores: Mapping[str, CaseScore]
    settled: Sequence[str]
    over: str
    label: str
    rng: random.Random

    def numbers(self, image: str) -> Mapping[str, Any]:
        """Return the numbers of a case, or of the class in it that is looked at; none where it has no score."""
        score = self.scores.get(image)
        told = (score.numbers if score else None) or {"all": {}, "classes": {}}
        return told["classes"].get(self.label, {}) if self.label else told["all"]

    def with_rest(self, first: Sequence[str]) -> list[str]:
        """Return cases in their order, and behind them all others as they are drawn."""
        front = set(first)
        return [*first, *drawn([image for image in self.images if image not in front], {}, self.rng)]


def foreground_random(question: Question) -> list[str]:
    """Draw a class, then cases by how much of it was found in them: whoever draws so sees every class often."""
    volumes = {
        image: {name: each["volume_ml"] for name, each in score.numbers["classes"].items()}
        for image, score in question.scores.items()
        if image in question.images and score.numbers
    }
    classes = sorted({name for found in volumes.values() for name, volume in found.items() if volume > 0})
    if question.label:
        classes = [name for name in classes if name == question.label]
    if not classes:
        return question.with_rest([])
    name = question.rng.choice(classes)
    known = [image for image in question.images if image in volumes]
    return question.with_rest(drawn(known, {image: volumes[image][name] for image in known}, question.rng))


def entropy(question: Question) -> list[str]:
    """Order by how uncertain the mean answer is."""
    return _largest_first(question, f"entropy_{question.over}")


def mutual_information(question: Question) -> list[str]:
    """Order by how much the answers contradict each other."""
    return _largest_first(question, f"information_{question.over}")


def topology(question: Question) -> list[str]:
    """Order by the mean rank in what the shape is unsure of: counts and shares of length have no common unit."""
    names = [name for name in TOPOLOGY if any(_has(question, image, name) for image in question.images)]
    known = [image for image in question.images if names and all(_has(question, image, name) for name in names)]
    ranks = dict.fromkeys(known, 0.0)
    for name in names:
        values = [question.numbers(image)[name] for image in known]
        for image in known:
            mine = question.numbers(image)[name]
            ranks[image] += sum(value < mine for value in values) + sum(value == mine for value in values) / 2
    return question.with_rest(sorted(known, key=lambda image: -ranks[image]))


def diversity(question: Question) -> list[str]:
    """Order so that each case is the farthest from those before it and from those that are settled."""
    known = [image for image in _free(question) if _vector(question, image)]
    order = k_centre([_vector(question, image) for image in known], _centres(question))
    return question.with_rest([known[index] for index in order])


def entropy_diversity(question: Question) -> list[str]:
    """Order the most uncertain quarter as `diversity` does, then the rest by uncertainty."""
    name = f"entropy_{question.over}"
    known = [image for image in _free(question) if _vector(question, image) and _has(question, image, name)]
    scores = [question.numbers(image)[name] for image in known]
    order = suggestive(scores, [_vector(question, image) for image in known], _centres(question))
    return question.with_rest([known[index] for index in order])


Order = Callable[[Question], list[str]]
ORDERS: dict[str, Order] = {
    each.__name__: each
    for each in (foreground_random, entropy, mutual_information, topology, diversity, entropy_diversity)
}
"""The strategies that rank by scores; `lib.tasks.spec.SCORED` has their names in the order viewers show."""


def _largest_first(question: Question, name: str) -> list[str]:
    known = [image for image in question.images if _has(question, image, name)]
    return question.with_rest(sorted(known, key=lambda image: -question.numbers(image)[name]))


def _has(question: Question, image: str, name: str) -> bool:
    return question.numbers(image).get(name) is not None


def _free(question: Question) -> list[str]:
    settled = set(question.settled)
    return [image for image in question.images if image not in settled]


def _vector(question: Question, image: str) -> list[float]:
    score = question.scores.get(image)
    return (score.embedding if score else None) or []


def _centres(question: Question) -> list[list[float]]:
    return [vector for image in question.settled if (vector := _vector(question, image))]
