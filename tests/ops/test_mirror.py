"""The classes of a pair change places; all other classes, and a mirroring without pairs, change nothing."""

import torch

from lib.ops.mirror import Mirroring

KIDNEYS = Mirroring(((1, 3), (4, 2)))


def test_labels_of_a_pair_are_exchanged_and_others_stay() -> None:
    label = torch.tensor([[0, 1, 2], [3, 4, 255]], dtype=torch.uint8)
    exchanged = KIDNEYS.exchange_labels(label)
    assert exchanged.tolist() == [[0, 3, 4], [1, 2, 255]] and exchanged.dtype == torch.uint8
    assert torch.equal(KIDNEYS.exchange_labels(exchanged), label)
    assert label.tolist() == [[0, 1, 2], [3, 4, 255]], "the input is not changed"


def test_channels_are_exchanged_as_labels_are() -> None:
    logits = torch.randn(2, 6, 5, 4)
    exchanged = KIDNEYS.exchange_channels(logits, axis=1)
    assert torch.equal(exchanged.argmax(1).to(torch.uint8), KIDNEYS.exchange_labels(logits.argmax(1).to(torch.uint8)))
    assert torch.equal(KIDNEYS.exchange_channels(logits[0], axis=0), exchanged[0])


def test_without_pairs_nothing_is_exchanged() -> None:
    label, logits = torch.randint(0, 256, (4, 4), dtype=torch.uint8), torch.randn(1, 3, 2)
    assert Mirroring().exchange_labels(label) is label and Mirroring().exchange_channels(logits, axis=1) is logits
