"""Rankings of cases with hand-made scores."""

import random
from collections import Counter
from typing import Any

import pytest

from lib.records.scores import CaseScore
from lib.tasks.spec import SCORED
from lib.tasks.strategies.rankings import ORDERS, RankingRequest
from lib.tasks.strategies.scored_strategy import DESCRIPTIONS


def score(
    vector: list[float] | None = None, classes: dict[str, dict[str, Any]] | None = None, **numbers: Any
) -> CaseScore:
    return CaseScore({"all": numbers, "classes": classes or {}}, vector or [0.0])


def rank(order: str, scores: dict[str, CaseScore], images: str = "abcd", **options: Any) -> list[str]:
    seed = options.pop("seed", 0)
    defaults = {"taken": (), "aggregation": "top", "label": "", "rng": random.Random(seed)}
    return ORDERS[order](RankingRequest(images=list(images), scores=scores, **(defaults | options)))


def test_every_declared_strategy_has_a_ranking_and_a_description() -> None:
    assert tuple(ORDERS) == SCORED == tuple(DESCRIPTIONS)


@pytest.mark.parametrize(("order", "name"), [("entropy", "entropy"), ("mutual_information", "information")])
def test_the_most_uncertain_case_comes_first(order: str, name: str) -> None:
    scores = {
        image: score(**{f"{name}_top": top, f"{name}_roi": roi})
        for image, top, roi in (("a", 0.2, 0.3), ("b", 0.6, 0.1), ("c", 0.6, 0.2))
    }
    assert rank(order, scores) == ["b", "c", "a", "d"], "ties are ordered by name, and cases without a score come last"
    assert rank(order, scores, aggregation="roi") == ["a", "c", "b", "d"]


def test_a_label_limits_the_ranking_to_one_class() -> None:
    scores = {
        "a": score(entropy_top=0.9, classes={"tube": {"entropy_top": 0.1}}),
        "b": score(entropy_top=0.1, classes={"tube": {"entropy_top": 0.2}}),
        "c": score(entropy_top=0.5, classes={"tube": {"entropy_top": None}}),
    }
    assert rank("entropy", scores, "abc") == ["a", "c", "b"]
    assert rank("entropy", scores, "abc", label="tube") == ["b", "a", "c"]


def test_topology_ranks_by_mean_rank() -> None:
    """One more component has the same effect as a hundred more if the rank is the same."""
    scores = {
        "a": score(components=100.0, centreline=0.1, fragility=1.0),  # ranks 3, 1, 1
        "b": score(components=2.0, centreline=0.3, fragility=2.0),  # ranks 2, 3, 2
        "c": score(components=1.0, centreline=0.2, fragility=3.0),  # ranks 1, 2, 3
        "d": CaseScore(error="cut off"),
    }
    assert rank("topology", scores) == ["b", "c", "a", "d"]
    by_class = {
        image: score(classes={"tube": {"components": components, "centreline": 0.0}})
        for image, components in (("a", 0.0), ("b", 3.0), ("c", 1.0))
    }
    assert rank("topology", by_class, "abc", label="tube") == ["b", "c", "a"], "fragility is not computed per class"


def test_diversity_avoids_labelled_and_leased_cases() -> None:
    scores = {
        name: score([x], entropy_top=x) for name, x in (("a", 0.0), ("b", 1.0), ("c", 9.0), ("d", 10.0), ("z", 10.5))
    }
    assert rank("diversity", scores, taken=["z"])[0] == "a"
    # If a is leased, b is near a labelled or leased case, and so is d.
    assert rank("diversity", scores, taken=["z", "a"])[-1] == "a"
    sequence, taken = [], ["z"]
    for _ in range(4):
        sequence.append(next(image for image in rank("diversity", scores, taken=taken) if image not in taken))
        taken = [*taken, sequence[-1]]
    assert sequence == rank("diversity", scores, taken=["z"])


def test_entropy_diversity_diversifies_the_most_uncertain_quarter() -> None:
    names = [f"{number:02d}" for number in range(40)]
    scores = {name: score([float(number % 10)], entropy_top=number / 40) for number, name in enumerate(names)}
    options = {"taken": (), "aggregation": "top", "label": "", "rng": random.Random(0)}
    found = ORDERS["entropy_diversity"](RankingRequest(images=names, scores=scores, **options))
    assert set(found[:10]) == set(names[30:]), "a quarter"
    assert {found[1], found[2]} == {"30", "39"}, "from the middle to the ends"
    assert found[10:] == names[29::-1]


def volumes(**parts: float) -> CaseScore:
    return score(classes={name: {"volume_ml": volume} for name, volume in parts.items()})


def test_foreground_random_draws_a_class_and_then_by_its_volume() -> None:
    scores = {"a": volumes(large=90, rare=0), "b": volumes(large=10, rare=0), "c": volumes(large=0, rare=0.1)}
    first = Counter(rank("foreground_random", scores, "abc", seed=seed)[0] for seed in range(2000))
    # Only c has the rare class, so it gets half of the draws; a and b share the other half 9 to 1.
    assert first["c"] == pytest.approx(1000, abs=100) and first["a"] == pytest.approx(900, abs=100)
    assert rank("foreground_random", scores, "abc", label="rare")[0] == "c"


def test_foreground_without_scores_is_random() -> None:
    first = Counter(rank("foreground_random", {}, seed=seed)[0] for seed in range(2000))
    assert all(first[image] == pytest.approx(500, abs=80) for image in "abcd")
    assert rank("foreground_random", {}, seed=7) == rank("foreground_random", {}, seed=7)


@pytest.mark.parametrize("order", SCORED)
def test_every_ranking_contains_every_case(order: str) -> None:
    full = {"components": 1.0, "centreline": 0.1, "fragility": 1.0, "entropy_top": 0.5, "information_top": 0.1}
    scores = {
        "a": score([1.0], classes={"tube": {"volume_ml": 1.0}}, **full),
        "b": CaseScore(error="cut off"),
        "c": CaseScore(embedding=[2.0]),
    }
    assert sorted(rank(order, scores, taken=["c"])) == list("abcd") and sorted(rank(order, {})) == list("abcd")
