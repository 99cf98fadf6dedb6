"""Does the first batch of the strategy "cold_start" cover a data set better than random batches, and what does it cost?

``python -m benchmarks.cold_start --images DIR [--cases 160]``: the first cases by name of a folder of MR images. Every
case is embedded; the distance of each case to its nearest chosen case is averaged over all cases, for the batch of the
strategy and for 200 random batches of the same size.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from scipy.spatial.distance import cdist

from benchmarks.harness.results import write_result
from benchmarks.harness.tables import markdown_table
from lib.data.cases import find_cases
from lib.evaluation.selection.diversity import k_centre
from lib.evaluation.selection.typicality import ROUND, typical_cases
from lib.tasks.spec import read_app
from lib.tasks.strategies.embedder import Embedder

DRAWS = 200
APP = {
    "app": {"name": "cold_start"},
    "task": [
        {
            "name": "click",
            "kind": "click",
            "model": "sam_tiny",
            "object": "structure",
            "labels": ["structure"],
            "image": {"modality": "MR", "intensity": "percentile", "spacing_mm": [1.0, 1.0, 1.0], "roi": [128, 128]},
        }
    ],
}
"""A click task as `python -m lib new` writes it for MR."""


def embed(images: list[str]) -> tuple[np.ndarray, list[float]]:
    """Return the embeddings of images, ``(N, E)``, and the seconds of each."""
    embedder = Embedder(read_app(APP).tasks[0])
    embedder.score(images[0])  # the first call initialises the libraries
    vectors, seconds = [], []
    for image in images:
        start = time.perf_counter()
        vectors.append(embedder.score(image).embedding)
        seconds.append(time.perf_counter() - start)
    return np.array(vectors), seconds


def coverage(vectors: np.ndarray, chosen: list[int]) -> float:
    """Return the mean distance of every case to its nearest chosen case."""
    return float(cdist(vectors, vectors[chosen]).min(axis=1).mean())


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--cases", type=int, default=160)
    options = parser.parse_args()
    images = [str(case.image) for case in find_cases(options.images)][: options.cases]
    vectors, seconds = embed(images)
    rng = np.random.default_rng(0)
    draws = [coverage(vectors, rng.choice(len(vectors), ROUND, replace=False).tolist()) for _ in range(DRAWS)]
    batches = {"cold_start": typical_cases(vectors)[:ROUND], "k-centre": k_centre(vectors)[:ROUND]}
    found = {name: coverage(vectors, chosen) for name, chosen in batches.items()}
    median = statistics.median(draws)
    rows = [["random, median (range)", f"{median:.4f} ({min(draws):.4f}-{max(draws):.4f})", "1.00", "-"]]
    for name, value in found.items():
        better = sum(draw > value for draw in draws)
        rows.append([name, f"{value:.4f}", f"{value / median:.2f}", f"{better} of {DRAWS}"])
    heads = [f"first {ROUND} of {len(images)} cases", "mean distance to the nearest chosen case", "share of random"]
    table = markdown_table([*heads, "random batches that cover worse"], "lrrr", rows)
    middle = statistics.median(seconds)
    note = f"One case takes {middle:.3f} s to embed (median; largest {max(seconds):.3f} s), reading included."
    figures = {
        "images": options.images.parent.name,
        "cases": len(images),
        "seconds": {"median": middle, "largest": max(seconds)},
        "coverage": found,
        "random": sorted(draws),
        "chosen": {name: [Path(images[at]).name for at in chosen] for name, chosen in batches.items()},
    }
    command = f"python -m benchmarks.cold_start --images DIR --cases {len(images)}"
    write_result("cold_start", command, figures, "\n".join([*table, "", note]))


if __name__ == "__main__":
    main()
