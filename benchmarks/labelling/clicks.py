"""Time of a click with a cached embedding, compared with a new embedding per click; speed of the encoder's engines.

``python -m benchmarks.clicks``; the ViT-B has random weights, because its time does not depend on them.
"""

import copy
import statistics
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import nn

from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table, median_range
from benchmarks.harness.timing import ratios, time_call, time_calls
from lib.data.phantom import write_cohort
from lib.data.pipeline import ImageSpec, read
from lib.evaluation.metrics.overlap import dice
from lib.learning.click_validation import CaseEmbeddings, select_click_targets
from lib.models.sam import PromptedNetwork, sam_tiny
from lib.models.sam.build import EMBED_DIM, VIT_PATCH, _assemble, build_vit_b
from lib.models.sam.predictor import ClickPredictor, Clicks, Plane, no_cache

SPEC = ImageSpec((0.9, 0.9, 1.5), (200.0, -1000.0), (128, 128))
SEED, ROUNDS, CLICKS, DECODES = 0, 7, 20, 40
LABELS, WHOLE = ("nasal_cavity", "sinuses", "pharynx", "larynx", "trachea"), "airway"


def slices(count: int) -> list[tuple[Plane, np.ndarray]]:
    """Return slices of a procedural study with their airway masks."""
    with TemporaryDirectory() as folder:
        write_cohort(Path(folder), count=1, seed=SEED)
        image, label = (next(Path(folder).glob(f"{place}*.nii.gz")) for place in ("", "labels/final/"))
        reading = read(image, SPEC, label)
    objects = select_click_targets(reading, SPEC, LABELS, WHOLE, slices=count)
    return [(item.plane, item.target) for item in objects if item.name == WHOLE]


def random_vit_b(image_size: int = 512) -> PromptedNetwork:
    """Return SAM ViT-B with seeded random weights."""
    torch.manual_seed(SEED)
    return _assemble(build_vit_b(image_size), image_size, VIT_PATCH).eval()


def clicks_on(target: np.ndarray) -> list[Clicks]:
    """Return growing lists of clicks, alternately on the object and outside it within its box, so the frame stays."""
    rng = np.random.default_rng(SEED)
    rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
    within = np.zeros_like(target)
    within[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
    drawn = (rng.permutation(np.argwhere(within & side))[: CLICKS // 2].tolist() for side in (target, ~target))
    on, outside = ([(float(row), float(column)) for row, column in side] for side in drawn)
    return [Clicks(tuple(on[: (n + 1) // 2]), tuple(outside[: n // 2])) for n in range(1, CLICKS + 1)]


def measure_clicks(network: PromptedNetwork, plane: Plane, target: np.ndarray, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of clicks with a new embedding and with a cached embedding, interleaved."""
    uncached, cached = (
        ClickPredictor(network, cache=no_cache),
        ClickPredictor(network, cache=CaseEmbeddings().get_or_make),
    )
    sessions = clicks_on(target)
    frame = cached.frame(plane, sessions[0])
    cached.predict_in_frame(plane, frame, sessions[0])
    seconds: dict[str, list[float]] = {"again": [], "kept": []}
    for turn in range(rounds):
        prompts = sessions[1 + turn % 2 :: 2]
        seconds["again"].append(time_call(lambda clicks=prompts[0]: uncached.predict_in_frame(plane, frame, clicks)))
        seconds["kept"] += [time_call(lambda clicks=clicks: cached.predict(plane, clicks)) for clicks in prompts]
    return seconds


def engines(plane: Plane, targets: list[tuple[Plane, np.ndarray]]) -> list[dict]:
    """Compare the encoder's engines on a CPU with torch in float32: speed-ups, and the Dice between the masks."""
    network = sam_tiny(SPEC.roi[0], rank=0)
    plain = ClickPredictor(network, cache=CaseEmbeddings().get_or_make)
    image = torch.rand(1, 1, *SPEC.roi)
    rows = []
    for name, make in {"torch bfloat16": _bfloat16, "OpenVINO": _openvino}.items():
        other = copy.deepcopy(network)
        try:
            other.image_encoder = make(network.image_encoder, image.expand(1, 3, *SPEC.roi))
        except ImportError:
            continue
        calls = {"float32": partial(network.encode, image), "engine": partial(other.encode, image)}
        with torch.inference_mode():
            taken = time_calls(calls, ROUNDS)
        agreement = _agreement(plain, ClickPredictor(other, cache=CaseEmbeddings().get_or_make), targets)
        rows.append({"engine": name, "ratios": ratios(taken["float32"], taken["engine"]), "dice": agreement})
    return rows


class _ForeignEncoder(nn.Module):
    """An encoder that runs in another engine."""

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.run = run

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.run(images)


def _bfloat16(encoder: nn.Module, image: torch.Tensor) -> nn.Module:
    cast = copy.deepcopy(encoder).bfloat16()
    return _ForeignEncoder(lambda images: cast(images.bfloat16()).float())


def _openvino(encoder: nn.Module, image: torch.Tensor) -> nn.Module:
    openvino = import_module("openvino")  # not a dependency: measured only if it is installed
    model = openvino.convert_model(encoder, example_input=image, input=[tuple(image.shape)])
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": torch.get_num_threads()})
    return _ForeignEncoder(lambda images: torch.from_numpy(compiled(images.numpy())[0]))


def _agreement(one: ClickPredictor, other: ClickPredictor, targets: list[tuple[Plane, np.ndarray]]) -> float:
    """Return the mean Dice between the masks of two predictors for the same boxes, which need no training."""
    scores = []
    for plane, target in targets:
        rows, columns = np.flatnonzero(target.any(1)), np.flatnonzero(target.any(0))
        box = Clicks(box=(float(rows[0]), float(columns[0]), float(rows[-1]), float(columns[-1])))
        scores.append(dice(*(predictor.predict(plane, box).mask.numpy() for predictor in (one, other))))
    return float(np.mean(scores))


def facts(values: list[float]) -> tuple[float, float]:
    """Return median and 95th percentile, in ms."""
    return 1e3 * statistics.median(values), 1e3 * float(np.percentile(values, 95))


def main() -> None:
    """Run from the command line."""
    torch.set_num_threads(1)
    targets = slices(4)
    plane, target = targets[1]
    rows, figures = [], []
    for name, network, rounds in (("sam_tiny, 128", sam_tiny(128), ROUNDS), ("sam_vit_b, 512", random_vit_b(), 3)):
        seconds = measure_clicks(network, plane, target, rounds)
        again, kept = facts(seconds["again"]), facts(seconds["kept"])
        decoder = decoder_seconds(network)
        side = network.prompt_encoder.image_embedding_size[0]
        figures.append({"network": name, **seconds, "decoder": decoder, "ratio": again[0] / kept[0]})
        times = [f"{median:.0f} / {p95:.0f}" for median, p95 in (again, kept)]
        rows.append([name, f"{side} x {side}", *times, f"{again[0] / kept[0]:.1f}x"])
    embed, cached = "embed at each click, median / p95, ms", "kept embedding, median / p95, ms"
    lines = markdown_table(["network", "embedding", embed, cached, "ratio"], "llr", rows)
    rows = []
    for row in figures:
        median, p95 = facts(row["decoder"])
        rows.append([row["network"], f"{1e3 * min(row['decoder']):.0f} / {median:.0f} / {p95:.0f}"])
    lines += ["", *markdown_table(["network", "decoder alone, least / median / p95, ms"], "lr", rows)]
    compared = engines(plane, targets)
    rows = [[row["engine"], median_range(row["ratios"], ".2f"), f"{row['dice']:.4f}"] for row in compared]
    heads = ["encoder of sam_tiny, 128", "speed over torch float32", "Dice between the masks"]
    lines += ["", *markdown_table(heads, "lr", rows)]
    note = (
        f"One thread; a slice of a procedural study (seed {SEED}), clicks added one after the other; the time includes "
        "cropping and pasting back, but not file access and HTTP.\nThe ViT-B has random weights."
    )
    large = figures[-1]
    speedups = [seconds / statistics.median(large["kept"]) for seconds in large["again"]]
    result = {"rows": figures, "engines": compared, "ratios": speedups}
    write_result("clicks", "python -m benchmarks.clicks", result, "\n".join([*lines, "", note]))


def decoder_seconds(network: PromptedNetwork) -> list[float]:
    """Return the seconds of the decoder alone, with three points."""
    predictor = ClickPredictor(network)
    side = network.prompt_encoder.image_embedding_size[0]
    embedding = torch.randn(1, EMBED_DIM, side, side)
    plane = Plane(torch.rand(1, 128, 128), (1.0, 1.0))
    three = Clicks(((40.0, 40.0), (60.0, 60.0)), ((90.0, 20.0),))
    prompts = predictor._prompts(plane, predictor.frame(plane, Clicks(box=(30, 30, 90, 90))), three)
    with torch.inference_mode():
        return [
            time_call(lambda: predictor.network.decode(embedding, prompts, predictor._image_pe))
            for _ in range(DECODES + 2)
        ][2:]
