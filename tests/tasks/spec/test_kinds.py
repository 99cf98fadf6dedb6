"""Declarations of the kinds of task, and the networks that they build."""

from dataclasses import replace

import pytest

from lib.data.patches.sides import AugmentSpec
from lib.data.pipeline import ImageSpec
from lib.tasks.spec import CLICK, RESTORATION, SEGMENTATION, SpecError, TaskSpec, require_kind
from lib.tasks.spec.blocks import CountSpec
from lib.tasks.spec.kinds import KINDS

IMAGE = ImageSpec((1.0, 1.0, 1.0), (-1000.0, 400.0), (64, 64), (-1, 0, 1))
TASKS = {
    SEGMENTATION: TaskSpec("seg", SEGMENTATION, "topowmamba_tiny", ("a", "b"), IMAGE),
    CLICK: TaskSpec("sam", CLICK, "sam_tiny", ("a",), replace(IMAGE, slice_offsets=(0,)), object="organ"),
    RESTORATION: TaskSpec("bones", RESTORATION, "nafnet_tiny", counts=CountSpec()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_accepts_its_own_block_and_refuses_that_of_another_kind(kind: str) -> None:
    KINDS[kind].check(TASKS[kind], "here")
    for other in KINDS.keys() - {kind}:
        # The block has the keys of one kind and the name of another.
        with pytest.raises(SpecError, match="here"):
            KINDS[other].check(replace(TASKS[kind], kind=other), "here")


def test_a_segmentation_network_has_a_channel_per_class_and_background() -> None:
    network = KINDS[SEGMENTATION].build_network(TASKS[SEGMENTATION])
    assert next(iter(network.parameters())).shape[1] == 3, "three slices in"


def test_a_restoration_network_has_one_channel() -> None:
    network = KINDS[RESTORATION].build_network(TASKS[RESTORATION])
    assert next(p for p in network.parameters() if p.ndim == 4).shape[1] in (1, 2)


def test_a_restoration_task_has_no_labels_to_mirror() -> None:
    with pytest.raises(SpecError, match="here augment: a task of kind 'restoration' does not take this key"):
        KINDS[RESTORATION].check(replace(TASKS[RESTORATION], augment=AugmentSpec(mirror=False)), "here")


def test_each_kind_has_networks_and_a_default_metric() -> None:
    assert {kind: declaration.metrics[0] for kind, declaration in KINDS.items()} == {
        SEGMENTATION: "dice",
        CLICK: "dice",
        RESTORATION: "psnr",
    }
    assert all(declaration.networks for declaration in KINDS.values())


def test_a_task_of_another_kind_is_refused_with_the_required_kind() -> None:
    require_kind(TASKS[CLICK], CLICK, "click")
    with pytest.raises(SpecError, match="'sam' is of kind 'click'; to segment, name a task of kind 'segmentation'"):
        require_kind(TASKS[CLICK], SEGMENTATION, "segment")
