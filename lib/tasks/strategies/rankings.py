"""Rank cases for labelling by the scores of one model version."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lib.evaluation.selection.diversity import k_centre, suggestive_annotation
from lib.records.scores import CaseScore
from lib.tasks.strategies.draw import draw_by_weight

TOPOLOGY = ("components", "centreline", "fragility")


@dataclass(frozen=True)
class RankingRequest:
    """The cases to rank, and the data and options of the ranking.

    Args:
        images: Names of the cases without a final label.
        scores: Scores of one version by case, including labelled cases.
        taken: Cases that are labelled or leased to another annotator.
        aggregation: Aggregation of the uncertainty over voxels, "top" or "roi".
        label: The only class to consider; empty for all classes.
        rng: Random generator for draws; ties are broken by name, not at random.
    """

    images: Sequence[str]
    scores: Mapping[str, CaseScore]
    taken: Sequence[str]
    aggregation: str
    label: str
    rng: random.Random

    def numbers(self, image: str) -> Mapping[str, Any]:
        """Return the numbers of a case, or of the selected class in this case; empty if the case has no score."""
        score = self.scores.get(image)
        numbers = (score.numbers if score else None) or {"all": {}, "classes": {}}
        return numbers["classes"].get(self.label, {}) if self.label else numbers["all"]

    def append_rest(self, first: Sequence[str]) -> list[str]:
        """Return ranked cases, followed by all other cases in random order."""
        front = set(first)
        return [*first, *draw_by_weight([image for image in self.images if image not in front], {}, self.rng)]


def foreground_random(ranking: RankingRequest) -> list[str]:
    """Draw a class, then draw cases by their predicted volume of that class, so that rare classes come up often."""
    volumes = {
        image: {name: numbers["volume_ml"] for name, numbers in score.numbers["classes"].items()}
        for image, score in ranking.scores.items()
        if image in ranking.images and score.numbers
    }
    classes = sorted({name for found in volumes.values() for name, volume in found.items() if volume > 0})
    if ranking.label:
        classes = [name for name in classes if name == ranking.label]
    if not classes:
        return ranking.append_rest([])
    name = ranking.rng.choice(classes)
    known = [image for image in ranking.images if image in volumes]
    return ranking.append_rest(draw_by_weight(known, {image: volumes[image][name] for image in known}, ranking.rng))


def entropy(ranking: RankingRequest) -> list[str]:
    """Rank by the entropy of the mean prediction."""
    return _largest_first(ranking, f"entropy_{ranking.aggregation}")


def mutual_information(ranking: RankingRequest) -> list[str]:
    """Rank by the mutual information, that is, by the disagreement between the sampled predictions."""
    return _largest_first(ranking, f"information_{ranking.aggregation}")


def topology(ranking: RankingRequest) -> list[str]:
    """Rank by the mean rank in the topology numbers; ranks, because counts and lengths have no common unit."""
    names = [name for name in TOPOLOGY if any(_has(ranking, image, name) for image in ranking.images)]
    known = [image for image in ranking.images if names and all(_has(ranking, image, name) for name in names)]
    ranks = dict.fromkeys(known, 0.0)
    for name in names:
        values = [ranking.numbers(image)[name] for image in known]
        for image in known:
            own = ranking.numbers(image)[name]
            ranks[image] += sum(value < own for value in values) + sum(value == own for value in values) / 2
    return ranking.append_rest(sorted(known, key=lambda image: -ranks[image]))


def diversity(ranking: RankingRequest) -> list[str]:
    """Rank so that every case is the farthest from earlier, labelled and leased cases (k-centre)."""
    known = [image for image in _free(ranking) if _vector(ranking, image)]
    order = k_centre([_vector(ranking, image) for image in known], _centres(ranking))
    return ranking.append_rest([known[index] for index in order])


def entropy_diversity(ranking: RankingRequest) -> list[str]:
    """Rank the most uncertain quarter, and ten cases at least, as `diversity` does; then the others by uncertainty.

    Cases without a score come last, in random order.
    """
    name = f"entropy_{ranking.aggregation}"
    known = [image for image in _free(ranking) if _vector(ranking, image) and _has(ranking, image, name)]
    scores = [ranking.numbers(image)[name] for image in known]
    order = suggestive_annotation(scores, [_vector(ranking, image) for image in known], _centres(ranking))
    return ranking.append_rest([known[index] for index in order])


Order = Callable[[RankingRequest], list[str]]
ORDERS: dict[str, Order] = {
    order.__name__: order
    for order in (foreground_random, entropy, mutual_information, topology, diversity, entropy_diversity)
}
"""Strategies that rank by scores; `lib.tasks.spec.SCORED` lists their names in the order that viewers show."""


def _largest_first(ranking: RankingRequest, name: str) -> list[str]:
    known = [image for image in ranking.images if _has(ranking, image, name)]
    return ranking.append_rest(sorted(known, key=lambda image: -ranking.numbers(image)[name]))


def _has(ranking: RankingRequest, image: str, name: str) -> bool:
    return ranking.numbers(image).get(name) is not None


def _free(ranking: RankingRequest) -> list[str]:
    taken = set(ranking.taken)
    return [image for image in ranking.images if image not in taken]


def _vector(ranking: RankingRequest, image: str) -> list[float]:
    score = ranking.scores.get(image)
    return (score.embedding if score else None) or []


def _centres(ranking: RankingRequest) -> list[list[float]]:
    return [vector for image in ranking.taken if (vector := _vector(ranking, image))]
