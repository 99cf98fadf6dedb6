"""Judge a task on images with references: one study under stress beside the threshold rules, or a folder of cases."""

import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from lib.data.cases import Case
from lib.evaluation.baselines.threshold import fill_rule, hull, reference_airway
from lib.evaluation.metrics.topology import largest_component
from lib.evaluation.metrics.volume import volume_ml
from lib.evaluation.overlay import write_overlay
from lib.evaluation.report import UNION, evaluate_case, json_safe, summarise
from lib.evaluation.stress import STRESSES, reference_on

Label = npt.NDArray[np.uint8]
Segment = Callable[[Path], Label]
Progress = Callable[[str], None]
SEED = 20


@dataclass(frozen=True)
class Volume:
    """A CT in memory: ``hu`` ``(X, Y, Z)`` in RAS order, its affine, and its reference label on the same grid."""

    hu: npt.NDArray
    affine: npt.NDArray
    reference: Label

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        return tuple(float(size) for size in np.linalg.norm(self.affine[:3, :3], axis=0))


def load(image: Path, reference: Path) -> Volume:
    """Read a CT and its reference, both turned to RAS order without resampling.

    Args:
        image: NIfTI file in HU.
        reference: NIfTI label on the same grid.
    Raises:
        ValueError: If the grids differ.
    """
    scan, label = nib.Nifti1Image.from_filename(image), nib.Nifti1Image.from_filename(reference)
    if scan.shape != label.shape or not _same(scan.affine, label.affine):
        raise ValueError(f"{reference.name} is not on the grid of {image.name}: {label.shape} and {scan.shape}")
    scan, label = nib.as_closest_canonical(scan), nib.as_closest_canonical(label)
    return Volume(
        np.asarray(scan.dataobj, np.float32), np.asarray(scan.affine), np.asarray(label.dataobj).astype(np.uint8)
    )


def evaluate_study(
    segment: Segment, image: Path, reference: Path, labels: Mapping[str, int], *, out: Path, progress: Progress
) -> dict[str, Any]:
    """Judge the task on one study, clean and under every stress of `lib.evaluation.stress`, beside threshold rules.

    Args:
        segment: Maps an image file to a label on its grid.
        image: The study, NIfTI in HU.
        reference: Its label; one value for the whole airway, or the values of `labels`.
        labels: Value of each class, by name.
        out: Folder for the overlay PNG.
        progress: Is told, in words, what is being done.
    Returns:
        JSON-safe: ``conditions`` by name (each: ``methods`` with raw and largest-component scores, seconds), ``parts``
        in ml, ``overlay``, ``peak_memory_mib``.
    """
    study = load(image, reference)
    out.mkdir(parents=True, exist_ok=True)
    conditions: dict[str, Any] = {}
    for name in ("clean", *STRESSES):
        progress(f"{image.name}: {name}")
        volume = study if name == "clean" else perturbed(study, name)
        begin = time.perf_counter()
        label = _segmented(segment, volume)
        conditions[name] = {"seconds": time.perf_counter() - begin} | _methods(
            label, volume, study, full=name == "clean"
        )
        if name == "clean":
            parts = {part: volume_ml(label == value, volume.spacing_mm) for part, value in labels.items()}
            overlay = out / f"{_stem(image)}.png"
            write_overlay(
                overlay, volume.hu, label, volume.reference, volume.spacing_mm, labels=labels, title=_stem(image)
            )
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return json_safe(
        {"conditions": conditions, "parts_ml": parts, "overlay": str(overlay), "peak_memory_mib": round(peak_mib)}
    )


def _same(affine: Any, other: Any) -> bool:
    return np.allclose(affine, other, atol=1e-3)


def perturbed(study: Volume, name: str) -> Volume:
    """Return the study under the stress of that name, its reference brought to the same grid."""
    hu, affine = STRESSES[name](study.hu, study.affine, SEED)
    return Volume(hu, affine, reference_on(study.reference, study.affine, affine))


def evaluate_cases(
    segment: Segment, cases: Sequence[Case], labels: Mapping[str, int], *, out: Path, progress: Progress
) -> dict[str, Any]:
    """Judge the task on labelled cases.

    Args:
        segment: Maps an image file to a label on its grid.
        cases: Images with their labels.
        labels: Value of each class, by name.
        out: Folder for one overlay PNG a case.
        progress: Is told, in words, what is being done.
    Returns:
        JSON-safe: ``cases`` (scores of each) and ``summary`` with bootstrap intervals; beside them the summary of the
        threshold rule on the same cases.
    Raises:
        ValueError: If no case has a label.
    """
    labelled = [case for case in cases if case.label is not None]
    if not labelled:
        raise ValueError("no case has a label")
    out.mkdir(parents=True, exist_ok=True)
    scores: dict[str, Any] = {}
    rule = []
    for done, case in enumerate(labelled, start=1):
        progress(f"case {done} of {len(labelled)}: {case.id}")
        assert case.label is not None
        volume = load(case.image, case.label)
        label = _segmented(segment, volume)
        inside = hull(volume.hu, volume.spacing_mm)
        scores[case.id] = evaluate_case(label, volume.reference, volume.spacing_mm, labels, hull=inside)
        threshold = fill_rule(volume.hu, volume.spacing_mm).astype(np.uint8)
        rule.append(evaluate_case(threshold, _united(volume.reference), volume.spacing_mm, {UNION: 1}, hull=inside))
        write_overlay(
            out / f"{case.id}.png", volume.hu, label, volume.reference, volume.spacing_mm, labels=labels, title=case.id
        )
    return json_safe(
        {
            "cases": scores,
            "summary": summarise(list(scores.values()), SEED),
            "threshold_rule": summarise(rule, SEED),
            "overlays": str(out),
        }
    )


def _segmented(segment: Segment, volume: Volume) -> Label:
    """Send a volume the way users do: as a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.nii.gz"
        stored = np.clip(np.rint(volume.hu), -32768, 32767).astype(np.int16)
        nib.save(nib.Nifti1Image(stored, volume.affine), path)
        return segment(path)


def _methods(label: Label, volume: Volume, study: Volume, *, full: bool) -> dict[str, Any]:
    """Score the model and the two threshold rules, raw and by largest component, on all parts united.

    The body is found on the unperturbed scan: its hull is the judge of "outside", not part of what is judged.
    """
    inside = hull(study.hu if volume.hu.shape == study.hu.shape else volume.hu, volume.spacing_mm)
    truth = _united(volume.reference)
    found = {
        "model": label > 0,
        "fill_rule": fill_rule(volume.hu, volume.spacing_mm),
        "reference_recipe": reference_airway(volume.hu, volume.spacing_mm),
    }
    methods: dict[str, Any] = {}
    for name, mask in found.items():
        largest = largest_component(mask, connectivity=6)
        methods[name] = {
            "raw": _scores(mask, truth, volume, inside, full=full and name == "model"),
            "largest": _scores(largest, truth, volume, inside, full=full and name == "model"),
        }
    return {"methods": methods}


def _scores(mask: npt.NDArray, truth: Label, volume: Volume, inside: npt.NDArray, *, full: bool) -> dict[str, Any]:
    case = evaluate_case(mask.astype(np.uint8), truth, volume.spacing_mm, {UNION: 1}, hull=inside)
    scores = case["classes"][UNION]
    kept = scores if full else {key: scores[key] for key in ("dice", "volume_ml", "betti")}
    return kept | {"outside_ml": case["outside_ml"], "unconnected_ml": case["unconnected_ml"]}


def _united(reference: Label) -> Label:
    """Return all parts as one label, 255 (ignore) kept."""
    return np.where(reference == 255, 255, reference > 0).astype(np.uint8)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
