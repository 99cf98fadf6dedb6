"""A click on a slice that is embedded, beside one that embeds it again; the encoder's engines beside each other.

``python -m benchmarks.clicks``; the ViT-B has random weights, for its time does not depend on them.
"""

import copy
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from benchmarks.machine import keep
from lib.data.phantom import write_cohort
from lib.data.pipeline import ImageSpec, read
from lib.evaluation.metrics.overlap import dice
from lib.learning.click_validation import Kept, draw_objects
from lib.models.sam import PromptedNetwork, sam_tiny
from lib.models.sam.build import EMBED_DIM, VIT_PATCH, _assemble, vit_b
from lib.models.sam.predictor import ClickPredictor, Clicks, Plane, keep_nothing

SPEC = ImageSpec((0.9, 0.9, 1.5), (200.0, -1000.0), (128, 128))
SEED, ROUNDS, CLICKS, DECODES = 0, 7, 20, 40
LABELS, WHOLE = ("nasal_cavity", "sinuses", "pharynx", "larynx", "trachea"), "airway"


def slices(count: int) -> list[tuple[Plane, np.ndarray]]:
    """Return slices of a procedural study and their airway."""
    with TemporaryDirectory() as folder:
        write_cohort(Path(folder), count=1, seed=SEED)
        image, label = (next(Path(folder).glob(f"{place}*.nii.gz")) for place in ("", "labels/final/"))
        reading = read(image, SPEC, label)
    things = draw_objects(reading, SPEC, LABELS, WHOLE, slices=count)
    return [(thing.plane, thing.target) for thing in things if thing.name == WHOLE]


def random_vit_b(image_size: int = 512) -> PromptedNetwork:
    """Return SAM ViT-B as it is initialised."""
    torch.manual_seed(SEED)
    return _assemble(vit_b(image_size), image_size, VIT_PATCH).eval()


def clicks_on(target: np.ndarray) -> list[Clicks]:
    """Return a growing list of clicks, every other one beside the object but within its box: none moves the frame."""
    rng = np.random.default_rng(SEED)
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    within = np.zeros_like(target)
    within[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    drawn = (rng.permutation(np.argwhere(within & side))[: CLICKS // 2].tolist() for side in (target, ~target))
    on, beside = ([(float(row), float(column)) for row, column in side] for side in drawn)
    return [Clicks(tuple(on[: (n + 1) // 2]), tuple(beside[: n // 2])) for n in range(1, CLICKS + 1)]


def timed(ask: Callable[[], object]) -> float:
    """Return the seconds of one call."""
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


def compared(network: PromptedNetwork, plane: Plane, target: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of clicks that embed again and of clicks that do not, in turn."""
    anew, kept = ClickPredictor(network, keep=keep_nothing), ClickPredictor(network, keep=Kept().keep)
    sessions = clicks_on(target)
    frame = kept.frame(plane, sessions[0])
    kept.look(plane, frame, sessions[0])
    seconds: dict[str, list[float]] = {"again": [], "kept": []}
    for turn in range(rounds):
        asked = sessions[1 + turn % 2 :: 2]
        seconds["again"].append(timed(lambda clicks=asked[0]: anew.look(plane, frame, clicks)))
        seconds["kept"] += [timed(lambda clicks=clicks: kept.answer(plane, clicks)) for clicks in asked]
    return seconds


def engines(plane: Plane, targets: list[tuple[Plane, np.ndarray]]) -> list[dict]:
    """Return the encoder's engines on a CPU, their speed beside float32 of torch, and the Dice between their masks."""
    network = sam_tiny(SPEC.roi[0], rank=0)
    plain = ClickPredictor(network, keep=Kept().keep)
    image = torch.rand(1, 1, *SPEC.roi)
    rows = []
    for name, make in {"torch bfloat16": _bfloat16, "OpenVINO": _openvino}.items():
        other = copy.deepcopy(network)
        try:
            other.image_encoder = make(network.image_encoder, image.expand(1, 3, *SPEC.roi))
        except ImportError:
            continue
        pairs = []
        with torch.inference_mode():
            for turn in range(ROUNDS + 1):
                pair = [timed(lambda net=net: net.encode(image)) for net in (network, other)]
                pairs += [pair] if turn else []
        theirs = ClickPredictor(other, keep=Kept().keep)
        rows.append({"engine": name, "ratios": [a / b for a, b in pairs], "dice": _agreement(plain, theirs, targets)})
    return rows


class _Elsewhere(nn.Module):
    """An encoder that another engine runs."""

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.run(images)


def _bfloat16(encoder: nn.Module, image: torch.Tensor) -> nn.Module:
    cast = copy.deepcopy(encoder).bfloat16()
    return _Elsewhere(lambda images: cast(images.bfloat16()).float())


def _openvino(encoder: nn.Module, image: torch.Tensor) -> nn.Module:
    openvino = import_module("openvino")  # a peer, not a dependency: measured where it is installed
    model = openvino.convert_model(encoder, example_input=image, input=[tuple(image.shape)])
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": torch.get_num_threads()})
    return _Elsewhere(lambda images: torch.from_numpy(compiled(images.numpy())[0]))


def _agreement(one: ClickPredictor, other: ClickPredictor, targets: list[tuple[Plane, np.ndarray]]) -> float:
    """Return the mean Dice between two predictors' masks of the same boxes: the weights know boxes without a lesson."""
    scores = []
    for plane, target in targets:
        rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
        box = Clicks(box=(float(rows[0]), float(columns[0]), float(rows[-1]), float(columns[-1])))
        scores.append(dice(*(each.answer(plane, box).mask.numpy() for each in (one, other))))
    return float(np.mean(scores))


def facts(values: list[float]) -> tuple[float, float]:
    """Return median and 95th percentile, in ms."""
    return 1e3 * statistics.median(values), 1e3 * float(np.percentile(values, 95))


def main() -> None:
    """Run from the command line."""
    torch.set_num_threads(1)
    studied = slices(4)
    plane, target = studied[1]
    lines = [
        "| network | embedding | embed at each click, median / p95, ms | kept embedding, median / p95, ms | ratio |",
        "|---|---|---:|---:|---:|",
    ]
    figures = []
    for name, network, rounds in (("sam_tiny, 128", sam_tiny(128), ROUNDS), ("sam_vit_b, 512", random_vit_b(), 3)):
        seconds = compared(network, plane, target, rounds)
        again, kept = facts(seconds["again"]), facts(seconds["kept"])
        decoder = decoder_seconds(network)
        side = network.prompt_encoder.image_embedding_size[0]
        figures.append({"network": name, **seconds, "decoder": decoder, "ratio": again[0] / kept[0]})
        lines.append(
            f"| {name} | {side} x {side} | {again[0]:.0f} / {again[1]:.0f} | {kept[0]:.0f} / {kept[1]:.0f} "
            f"| {again[0] / kept[0]:.1f}x |"
        )
    lines += ["", "| network | decoder alone, least / median / p95, ms |", "|---|---:|"]
    for row in figures:
        median, p95 = facts(row["decoder"])
        lines.append(f"| {row['network']} | {1e3 * min(row['decoder']):.0f} / {median:.0f} / {p95:.0f} |")
    rows = engines(plane, studied)
    lines += ["", "| encoder of sam_tiny, 128 | speed over torch float32 | Dice between the masks |", "|---|---:|---:|"]
    for row in rows:
        median, low, high = statistics.median(row["ratios"]), min(row["ratios"]), max(row["ratios"])
        lines.append(f"| {row['engine']} | {median:.2f}x ({low:.2f}-{high:.2f}) | {row['dice']:.4f} |")
    note = (
        f"One thread; a slice of a procedural study (seed {SEED}), clicks added one by one; cutting out and back "
        "included, file and HTTP not.\nThe ViT-B has random weights."
    )
    large = figures[-1]
    ratios = [seconds / statistics.median(large["kept"]) for seconds in large["again"]]
    found = {"rows": figures, "engines": rows, "ratios": ratios}
    keep("clicks", "python -m benchmarks.clicks", found, "\n".join([*lines, "", note]))


def decoder_seconds(network: PromptedNetwork) -> list[float]:
    """Return the seconds of the decoder alone, with three points."""
    predictor = ClickPredictor(network)
    side = network.prompt_encoder.image_embedding_size[0]
    embedding = torch.randn(1, EMBED_DIM, side, side)
    plane = Plane(torch.rand(128, 128), (1.0, 1.0))
    three = Clicks(((40.0, 40.0), (60.0, 60.0)), ((90.0, 20.0),))
    prompts = predictor._prompts(plane, predictor.frame(plane, Clicks(box=(30, 30, 90, 90))), three)
    with torch.inference_mode():
        return [
            timed(lambda: predictor.network.decode(embedding, prompts, predictor._image_pe)) for _ in range(DECODES + 2)
        ][2:]


if __name__ == "__main__":
    main()
