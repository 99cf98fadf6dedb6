"""Frames, cached embeddings and masks of the click predictor."""

from collections.abc import Callable, Hashable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lib.models.sam.network import PromptedNetwork
from lib.models.sam.predictor import Answer, ClickPredictor, Clicks, Plane, mask_logits
from lib.ops.frame import Frame
from tests.models.sam.toys import Bright, randomise_adapters, toy_network

SIZE, SPACING = (160, 200), (0.8, 1.1)


class RecordingCache:
    """A cache that records the requested keys."""

    def __init__(self) -> None:
        self.keys: list[Hashable] = []
        self.values: dict[Hashable, Tensor] = {}

    def __call__(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        self.keys.append(key)
        if key not in self.values:
            self.values[key] = make()
        return self.values[key]


def disc(row: float, column: float, radius: float) -> Tensor:
    """Return an image with a bright disc, given in pixels."""
    rows, columns = torch.meshgrid(torch.arange(float(SIZE[0])), torch.arange(float(SIZE[1])), indexing="ij")
    return ((rows - row).hypot(columns - column) < radius).float()


@pytest.fixture(scope="module")
def network() -> PromptedNetwork:
    return randomise_adapters(toy_network(32))


@pytest.fixture
def bright() -> ClickPredictor:
    Bright.seen = []
    return ClickPredictor(toy_network(128, kind=Bright, rank=0))


@pytest.fixture(scope="module")
def plane() -> Plane:
    image = disc(70, 90, 20) * 0.6 + torch.rand(SIZE, generator=torch.Generator().manual_seed(0)) * 0.3
    return Plane(image[None], SPACING, "a slice")


CLICK = Clicks(((70.0, 90.0),))


def test_the_mask_is_on_the_grid_of_the_slice(bright: ClickPredictor) -> None:
    wanted = disc(70, 90, 20) > 0
    answer = bright.predict(Plane(wanted.float()[None], SPACING), CLICK)
    assert answer.mask.shape == answer.logits.shape == SIZE and answer.mask.dtype == torch.bool
    assert 2 * (answer.mask & wanted).sum() / (answer.mask.sum() + wanted.sum()) > 0.98
    top, left, bottom, right = answer.frame.box
    outside = torch.ones(SIZE, dtype=torch.bool)
    outside[int(max(top, 0) / 0.8) : int(bottom / 0.8) + 2, int(max(left, 0) / 1.1) : int(right / 1.1) + 2] = False
    assert (answer.logits[outside] == -32).all()


def test_the_frame_encloses_the_object_of_the_first_click(bright: ClickPredictor) -> None:
    answer = bright.predict(Plane(disc(70, 90, 20)[None], SPACING), CLICK)
    # 40 pixels of 1.1 mm along the rows, times 1.3, rounded up to the next power of sqrt 2 times 32 mm.
    assert answer.frame.side_mm == pytest.approx(64)
    assert answer.frame.contains((70 * 0.8 - 16, 90 * 1.1 - 22, 70 * 0.8 + 16, 90 * 1.1 + 22))


def test_clicks_become_points_at_the_same_positions(bright: ClickPredictor) -> None:
    image = torch.zeros(SIZE)
    image[70, 90] = image[75, 100] = 1
    answer = bright.predict(Plane(image[None], SPACING), Clicks(((70.0, 90.0),), ((75.0, 100.0),)))
    prompts = Bright.seen[-1]
    assert prompts.points is not None and prompts.point_labels is not None and prompts.point_labels.tolist() == [[1, 0]]
    shown = answer.frame.resample(image, SPACING, 128)
    for row, column in prompts.points[0].round().int().tolist():
        assert shown[row, column] > 0.5 * shown.max()


def test_clicks_inside_the_frame_do_not_change_it(network: PromptedNetwork, plane: Plane) -> None:
    predictor = ClickPredictor(network)
    first = predictor.predict(plane, CLICK).frame
    top, left, bottom, right = first.box
    inside = ((top * 0.7 + bottom * 0.3) / 0.8, (left * 0.4 + right * 0.6) / 1.1)
    more = Clicks((*CLICK.foreground, inside), ((inside[0] + 2, inside[1]),))
    assert predictor.predict(plane, more).frame == first


@pytest.mark.parametrize("kind", ["foreground", "background"])
def test_a_click_outside_enlarges_the_frame(network: PromptedNetwork, plane: Plane, kind: str) -> None:
    predictor = ClickPredictor(network, first_side_mm=32)
    first = predictor.predict(plane, CLICK).frame
    far = (150.0, 190.0)
    assert not first.contains((150 * 0.8, 190 * 1.1, 150 * 0.8, 190 * 1.1))
    more = replace(CLICK, **{kind: (*getattr(CLICK, kind), far)})
    wide = predictor.predict(plane, more).frame
    assert wide.side_mm > first.side_mm and wide.contains((70 * 0.8, 90 * 1.1, 150 * 0.8, 190 * 1.1))


def test_a_second_click_on_a_slice_uses_the_cached_embeddings(network: PromptedNetwork, plane: Plane) -> None:
    cache = RecordingCache()
    predictor = ClickPredictor(network, cache=cache)
    frame = predictor.predict(plane, CLICK).frame
    embeddings = {key for key in cache.values if isinstance(key, tuple) and isinstance(key[1], Frame)}
    # Two embeddings, of the wide frame and of the frame around the object, and the box of the object.
    assert len(embeddings) == 2 and len(cache.values) == 3 and ("a slice", frame) in embeddings
    before = dict(cache.values)
    middle = (frame.row_mm / 0.8, frame.column_mm / 1.1)
    answer = predictor.predict(plane, Clicks((*CLICK.foreground, middle)))
    assert answer.frame == frame and cache.values.keys() == before.keys()


def test_cache_keys_are_reproducible_and_differ_between_slices(network: PromptedNetwork, plane: Plane) -> None:
    keys = []
    for _ in range(2):
        cache = RecordingCache()
        ClickPredictor(network, cache=cache).predict(plane, CLICK)
        keys.append(list(cache.keys))
    assert keys[0] == keys[1]
    cache = RecordingCache()
    ClickPredictor(network, cache=cache).predict(replace(plane, key="another"), CLICK)
    assert not set(cache.values) & set(keys[0])


def test_the_mask_does_not_depend_on_earlier_requests(network: PromptedNetwork, plane: Plane) -> None:
    other = Plane(plane.image.flip(1), SPACING, "another")
    requests = [(plane, CLICK), (other, CLICK), (plane, Clicks(((70.0, 90.0), (60.0, 80.0)), ((20.0, 20.0),)))]
    alone = [ClickPredictor(network).predict(*request).logits for request in requests]
    predictor = ClickPredictor(network, cache=RecordingCache())
    for order in ([0, 1, 2], [2, 1, 0], [1, 1, 0]):
        for index in order:
            assert torch.equal(predictor.predict(*requests[index]).logits, alone[index])


def test_the_given_network_is_not_changed(plane: Plane) -> None:
    network = randomise_adapters(toy_network(32)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    trainable = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    ClickPredictor(network).predict(plane, CLICK)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert {name for name, parameter in network.named_parameters() if parameter.requires_grad} == trainable


def test_a_box_alone_is_framed_and_becomes_a_prompt(bright: ClickPredictor) -> None:
    answer = bright.predict(Plane(disc(70, 90, 20)[None], SPACING), Clicks(box=(50.0, 70.0, 90.0, 110.0)))
    (prompts,) = Bright.seen  # there is no first step for a box
    assert prompts.points is None and prompts.boxes is not None and prompts.masks is None
    assert answer.frame == Frame.enclosing((40.0, 77.0, 72.0, 121.0), 1.3)
    corners = answer.frame.to_samples(torch.tensor([[50.0, 70.0], [90.0, 110.0]]), SPACING, 128)
    assert torch.allclose(prompts.boxes, corners.view(1, 4)) and answer.mask[70, 90]


def test_a_previous_mask_alone_is_framed_and_becomes_a_prompt(bright: ClickPredictor) -> None:
    before = disc(70, 90, 12) > 0
    answer = bright.predict(Plane(disc(70, 90, 20)[None], SPACING), Clicks(), before)
    (prompts,) = Bright.seen
    assert prompts.points is None and prompts.masks is not None and prompts.masks.shape == (1, 1, 128, 128)
    inside = answer.frame.to_samples(torch.tensor([[70.0, 90.0]]), SPACING, 128)[0].round().int().tolist()
    assert prompts.masks[0, 0, inside[0], inside[1]] == pytest.approx(8) and prompts.masks.min() == pytest.approx(-8)


def test_an_empty_previous_mask_has_no_effect(network: PromptedNetwork, plane: Plane) -> None:
    predictor = ClickPredictor(network)
    with_it = predictor.predict(plane, CLICK, torch.zeros(SIZE, dtype=torch.bool))
    assert torch.equal(with_it.logits, predictor.predict(plane, CLICK).logits)


@pytest.mark.parametrize("clicks", [Clicks(), Clicks(background=((3.0, 4.0),))])
@pytest.mark.parametrize("previous_mask", [None, torch.zeros(SIZE, dtype=torch.bool)])
def test_a_request_without_a_marked_object_raises(
    bright: ClickPredictor, plane: Plane, clicks: Clicks, previous_mask: Tensor | None
) -> None:
    with pytest.raises(ValueError, match="nothing marks the object"):
        bright.predict(plane, clicks, previous_mask)


def test_a_mask_propagates_to_the_next_slice(bright: ClickPredictor) -> None:
    first = bright.predict(Plane(disc(70, 90, 20)[None], SPACING, 1), CLICK)
    Bright.seen.clear()
    nearby = bright.propagate(Plane(disc(71, 91, 19)[None], SPACING, 2), first, CLICK)
    assert nearby.frame == first.frame and torch.equal(Bright.seen[-1].masks[0, 0], first.window)  # type: ignore[index]
    assert torch.equal(nearby.mask, disc(71, 91, 19) > 0) or (nearby.mask ^ (disc(71, 91, 19) > 0)).sum() < 60


def test_propagation_enlarges_the_frame_for_an_object_that_leaves_it(bright: ClickPredictor) -> None:
    before = bright.predict(Plane(disc(70, 90, 20)[None], SPACING, 1), CLICK)
    small = Frame.enclosing((40.0, 77.0, 60.0, 99.0))
    assert not small.contains((40.0, 77.0, 72.0, 121.0))
    after = bright.propagate(
        Plane(disc(70, 90, 20)[None], SPACING, 2), Answer(before.logits, small, before.window), CLICK
    )
    assert after.frame == Frame.enclosing((51 * 0.8, 71 * 1.1, 89 * 0.8, 109 * 1.1), 1.3)
    masks = Bright.seen[-1].masks
    assert masks is not None and masks.shape == (1, 1, 128, 128) and masks.max() == pytest.approx(8)


def test_propagation_of_an_empty_mask_raises(bright: ClickPredictor, plane: Plane) -> None:
    nothing = bright.predict(Plane(torch.zeros(SIZE)[None], SPACING), CLICK)
    assert not nothing.mask.any()
    with pytest.raises(ValueError, match="nothing to follow"):
        bright.propagate(plane, nothing, CLICK)


def test_mask_logits_match_values_worked_by_hand() -> None:
    assert mask_logits(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-8, 0, 8]


def test_published_weights_segment_a_disc_in_a_box(tiny: PromptedNetwork) -> None:
    wanted = disc(70, 90, 20) > 0
    answer = ClickPredictor(tiny).predict(
        Plane((0.2 + 0.6 * wanted.float())[None], SPACING), Clicks(box=(50.0, 70, 90, 110))
    )
    assert 2 * (answer.mask & wanted).sum() / (answer.mask.sum() + wanted.sum()) > 0.85
