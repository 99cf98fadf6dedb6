"""Clicks to masks: where it looks, what it keeps, and that nothing but the question decides the answer."""

from collections.abc import Callable, Hashable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from lib.models.sam.network import PromptedNetwork
from lib.models.sam.predictor import Answer, ClickPredictor, Clicks, Plane, mask_logits
from lib.ops.frame import Frame
from tests.models.sam.toys import Bright, taught, toy_network

SIZE, SPACING = (160, 200), (0.8, 1.1)


class Keeping:
    """Keeps what was made, and which keys were asked."""

    def __init__(self) -> None:
        self.asked: list[Hashable] = []
        self.made: dict[Hashable, Tensor] = {}

    def __call__(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        self.asked.append(key)
        if key not in self.made:
            self.made[key] = make()
        return self.made[key]


def disc(row: float, column: float, radius: float) -> Tensor:
    """Return a bright disc, in pixels."""
    rows, columns = torch.meshgrid(torch.arange(float(SIZE[0])), torch.arange(float(SIZE[1])), indexing="ij")
    return ((rows - row).hypot(columns - column) < radius).float()


@pytest.fixture(scope="module")
def network() -> PromptedNetwork:
    return taught(toy_network(32))


@pytest.fixture
def bright() -> ClickPredictor:
    Bright.seen = []
    return ClickPredictor(toy_network(128, kind=Bright, rank=0))


@pytest.fixture(scope="module")
def plane() -> Plane:
    image = disc(70, 90, 20) * 0.6 + torch.rand(SIZE, generator=torch.Generator().manual_seed(0)) * 0.3
    return Plane(image, SPACING, "a slice")


CLICK = Clicks(((70.0, 90.0),))


def test_the_mask_lies_on_the_slice(bright: ClickPredictor) -> None:
    wanted = disc(70, 90, 20) > 0
    answer = bright.answer(Plane(wanted.float(), SPACING), CLICK)
    assert answer.mask.shape == answer.logits.shape == SIZE and answer.mask.dtype == torch.bool
    assert 2 * (answer.mask & wanted).sum() / (answer.mask.sum() + wanted.sum()) > 0.98
    top, left, bottom, right = answer.frame.box
    outside = torch.ones(SIZE, dtype=torch.bool)
    outside[int(max(top, 0) / 0.8) : int(bottom / 0.8) + 2, int(max(left, 0) / 1.1) : int(right / 1.1) + 2] = False
    assert (answer.logits[outside] == -32).all()


def test_it_looks_at_what_the_first_click_found(bright: ClickPredictor) -> None:
    answer = bright.answer(Plane(disc(70, 90, 20), SPACING), CLICK)
    # 40 pixels of 1.1 mm along the rows, a third more, on a ladder of sqrt 2 from 32 mm.
    assert answer.frame.side_mm == pytest.approx(64)
    assert answer.frame.holds((70 * 0.8 - 16, 90 * 1.1 - 22, 70 * 0.8 + 16, 90 * 1.1 + 22))


def test_a_click_is_asked_where_it_lies(bright: ClickPredictor) -> None:
    image = torch.zeros(SIZE)
    image[70, 90] = image[75, 100] = 1
    answer = bright.answer(Plane(image, SPACING), Clicks(((70.0, 90.0),), ((75.0, 100.0),)))
    asked = Bright.seen[-1]
    assert asked.points is not None and asked.kinds is not None and asked.kinds.tolist() == [[1, 0]]
    shown = answer.frame.cut(image, SPACING, 128)
    for row, column in asked.points[0].round().int().tolist():
        assert shown[row, column] > 0.5 * shown.max()


def test_the_frame_stays_while_clicks_are_added_inside(network: PromptedNetwork, plane: Plane) -> None:
    predictor = ClickPredictor(network)
    first = predictor.answer(plane, CLICK).frame
    top, left, bottom, right = first.box
    inside = ((top * 0.7 + bottom * 0.3) / 0.8, (left * 0.4 + right * 0.6) / 1.1)
    more = Clicks((*CLICK.foreground, inside), ((inside[0] + 2, inside[1]),))
    assert predictor.answer(plane, more).frame == first


@pytest.mark.parametrize("kind", ["foreground", "background"])
def test_a_click_outside_enlarges_the_frame(network: PromptedNetwork, plane: Plane, kind: str) -> None:
    predictor = ClickPredictor(network, first_mm=32)
    first = predictor.answer(plane, CLICK).frame
    far = (150.0, 190.0)
    assert not first.holds((150 * 0.8, 190 * 1.1, 150 * 0.8, 190 * 1.1))
    more = replace(CLICK, **{kind: (*getattr(CLICK, kind), far)})
    wide = predictor.answer(plane, more).frame
    assert wide.side_mm > first.side_mm and wide.holds((70 * 0.8, 90 * 1.1, 150 * 0.8, 190 * 1.1))


def test_the_second_click_on_a_slice_encodes_nothing(network: PromptedNetwork, plane: Plane) -> None:
    keep = Keeping()
    predictor = ClickPredictor(network, keep=keep)
    frame = predictor.answer(plane, CLICK).frame
    embeddings = {key for key in keep.made if isinstance(key, tuple) and isinstance(key[1], Frame)}
    # A wide frame, one around what was found, and what was found.
    assert len(embeddings) == 2 and len(keep.made) == 3 and ("a slice", frame) in embeddings
    before = dict(keep.made)
    middle = (frame.row_mm / 0.8, frame.column_mm / 1.1)
    answer = predictor.answer(plane, Clicks((*CLICK.foreground, middle)))
    assert answer.frame == frame and keep.made.keys() == before.keys()


def test_keys_tell_slices_apart_and_stay(network: PromptedNetwork, plane: Plane) -> None:
    keys = []
    for _ in range(2):
        keep = Keeping()
        ClickPredictor(network, keep=keep).answer(plane, CLICK)
        keys.append(list(keep.asked))
    assert keys[0] == keys[1]
    keep = Keeping()
    ClickPredictor(network, keep=keep).answer(replace(plane, key="another"), CLICK)
    assert not set(keep.made) & set(keys[0])


def test_the_same_clicks_get_the_same_mask_whatever_was_asked_before(network: PromptedNetwork, plane: Plane) -> None:
    other = Plane(plane.image.flip(0), SPACING, "another")
    questions = [(plane, CLICK), (other, CLICK), (plane, Clicks(((70.0, 90.0), (60.0, 80.0)), ((20.0, 20.0),)))]
    alone = [ClickPredictor(network).answer(*question).logits for question in questions]
    predictor = ClickPredictor(network, keep=Keeping())
    for order in ([0, 1, 2], [2, 1, 0], [1, 1, 0]):
        for index in order:
            assert torch.equal(predictor.answer(*questions[index]).logits, alone[index])


def test_the_network_given_stays_as_it_is(plane: Plane) -> None:
    network = taught(toy_network(32)).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    learning = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    ClickPredictor(network).answer(plane, CLICK)
    assert network.training and all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert {name for name, parameter in network.named_parameters() if parameter.requires_grad} == learning


def test_a_box_alone_is_framed_and_asked(bright: ClickPredictor) -> None:
    answer = bright.answer(Plane(disc(70, 90, 20), SPACING), Clicks(box=(50.0, 70.0, 90.0, 110.0)))
    (asked,) = Bright.seen  # nobody looked for it before
    assert asked.points is None and asked.boxes is not None and asked.masks is None
    assert answer.frame == Frame.around((40.0, 77.0, 72.0, 121.0), 1.3)
    corners = answer.frame.samples(torch.tensor([[50.0, 70.0], [90.0, 110.0]]), SPACING, 128)
    assert torch.allclose(asked.boxes, corners.view(1, 4)) and answer.mask[70, 90]


def test_a_mask_alone_is_framed_and_mended(bright: ClickPredictor) -> None:
    before = disc(70, 90, 12) > 0
    answer = bright.answer(Plane(disc(70, 90, 20), SPACING), Clicks(), before)
    (asked,) = Bright.seen
    assert asked.points is None and asked.masks is not None and asked.masks.shape == (1, 1, 128, 128)
    inside = answer.frame.samples(torch.tensor([[70.0, 90.0]]), SPACING, 128)[0].round().int().tolist()
    assert asked.masks[0, 0, inside[0], inside[1]] == pytest.approx(8) and asked.masks.min() == pytest.approx(-8)


def test_an_empty_mask_is_no_mask(network: PromptedNetwork, plane: Plane) -> None:
    predictor = ClickPredictor(network)
    with_it = predictor.answer(plane, CLICK, torch.zeros(SIZE, dtype=torch.bool))
    assert torch.equal(with_it.logits, predictor.answer(plane, CLICK).logits)


@pytest.mark.parametrize("clicks", [Clicks(), Clicks(background=((3.0, 4.0),))])
@pytest.mark.parametrize("earlier", [None, torch.zeros(SIZE, dtype=torch.bool)])
def test_nothing_marked_is_refused(
    bright: ClickPredictor, plane: Plane, clicks: Clicks, earlier: Tensor | None
) -> None:
    with pytest.raises(ValueError, match="nothing marks the object"):
        bright.answer(plane, clicks, earlier)


def test_follows_to_the_next_slice(bright: ClickPredictor) -> None:
    first = bright.answer(Plane(disc(70, 90, 20), SPACING, 1), CLICK)
    Bright.seen.clear()
    nearby = bright.follow(Plane(disc(71, 91, 19), SPACING, 2), first, CLICK)
    assert nearby.frame == first.frame and torch.equal(Bright.seen[-1].masks[0, 0], first.window)  # type: ignore[index]
    assert torch.equal(nearby.mask, disc(71, 91, 19) > 0) or (nearby.mask ^ (disc(71, 91, 19) > 0)).sum() < 60


def test_follows_what_leaves_its_frame(bright: ClickPredictor) -> None:
    before = bright.answer(Plane(disc(70, 90, 20), SPACING, 1), CLICK)
    small = Frame.around((40.0, 77.0, 60.0, 99.0))
    assert not small.holds((40.0, 77.0, 72.0, 121.0))
    after = bright.follow(Plane(disc(70, 90, 20), SPACING, 2), Answer(before.logits, small, before.window), CLICK)
    assert after.frame == Frame.around((51 * 0.8, 71 * 1.1, 89 * 0.8, 109 * 1.1), 1.3)
    masks = Bright.seen[-1].masks
    assert masks is not None and masks.shape == (1, 1, 128, 128) and masks.max() == pytest.approx(8)


def test_there_is_nothing_to_follow_in_an_empty_mask(bright: ClickPredictor, plane: Plane) -> None:
    nothing = bright.answer(Plane(torch.zeros(SIZE), SPACING), CLICK)
    assert not nothing.mask.any()
    with pytest.raises(ValueError, match="nothing to follow"):
        bright.follow(plane, nothing, CLICK)


def test_shares_of_a_mask_as_logits() -> None:
    assert mask_logits(torch.tensor([0.0, 0.5, 1.0])).tolist() == [-8, 0, 8]


def test_real_weights_find_a_boxed_disc_on_the_slice(tiny: PromptedNetwork) -> None:
    wanted = disc(70, 90, 20) > 0
    answer = ClickPredictor(tiny).answer(Plane(0.2 + 0.6 * wanted.float(), SPACING), Clicks(box=(50.0, 70, 90, 110)))
    assert 2 * (answer.mask & wanted).sum() / (answer.mask.sum() + wanted.sum()) > 0.85
