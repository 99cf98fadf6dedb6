"""Evaluate a task on images with reference labels: one CT under perturbations, or a folder of cases."""

import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from lib.data import formats
from lib.data.cases import Case
from lib.data.labels.coverage import check_covered, covers, parse_covered
from lib.data.modality import CT
from lib.data.pipeline import load_label
from lib.data.volumes.colour import with_channels
from lib.data.volumes.geometry import turn_to_ras
from lib.data.volumes.straight import StraightGrid
from lib.evaluation.baselines.threshold import fill_rule, hull, reference_airway
from lib.evaluation.metrics.topology import largest_component
from lib.evaluation.metrics.volume import volume_ml
from lib.evaluation.overlay import write_overlay
from lib.evaluation.report import UNION, evaluate_case, json_safe, summarise
from lib.evaluation.stress import STRESSES, resample_reference
from lib.evaluation.table import comparison_table, summary_table
from lib.tasks.spec.kinds import AIR

Label = npt.NDArray[np.uint8]
Segment = Callable[[Path], Label]
Progress = Callable[[str], None]
SEED = 20


@dataclass(frozen=True)
class Volume:
    """An image in memory, with its reference.

    Args:
        image: Stored intensities, in HU for a CT, ``(X, Y, Z)`` in RAS order.
        affine: Affine of the grid, ``(4, 4)``, in mm.
        reference: Reference label on the same grid.
        source_affine: Affine of the image file; None for an image that was made in memory.
        straight: The grid of an image whose slices are shifted sideways or unevenly spaced: distances and volumes are
            right there, and not on the slices.
    """

    image: npt.NDArray
    affine: npt.NDArray
    reference: Label
    source_affine: npt.NDArray | None = None
    straight: StraightGrid | None = None

    @property
    def spacing_mm(self) -> tuple[float, ...]:
        return tuple(float(size) for size in np.linalg.norm(self.affine[:3, :3], axis=0))

    def place(self, label: Label) -> Label:
        """Return a label in the shape of the image file on this grid."""
        if self.source_affine is None:
            return label
        if self.straight is not None:
            return turn_to_ras(self.straight.label(label), self.straight.affine)[0]
        return turn_to_ras(label, self.source_affine)[0]


def load(image: Path, reference: Path) -> Volume:
    """Read an image and its reference in RAS order; they are resampled only if the slices are on no regular grid.

    Args:
        image: Image file, or the folder of a DICOM series; a colour image is read as its luminance.
        reference: Label file on the same grid.
    Raises:
        InputRejected: If the grids differ, or the file holds other values than labels.
    """
    scan = with_channels(formats.load(image), 1)
    label = load_label(reference, scan.voxels.shape, scan.affine, in_pixels=scan.in_pixels)
    straight, voxels, affine = None, scan.voxels, scan.affine
    if scan.origins is not None:
        straight = StraightGrid(voxels.shape, affine, scan.origins)
        voxels, affine = straight.image(voxels), straight.affine
    volume = Volume(*turn_to_ras(voxels, affine), label, scan.affine, straight)
    return replace(volume, reference=volume.place(label))


def evaluate_study(
    segment: Segment, image: Path, reference: Path, labels: Mapping[str, int], *, out: Path, progress: Progress
) -> dict[str, Any]:
    """Evaluate the task and the threshold rules on one study, unchanged and with each of `STRESSES` applied.

    Args:
        segment: Maps an image file to a label on its grid.
        image: The study, NIfTI in HU.
        reference: Reference label: one value for the whole airway, or the values of `labels`.
        labels: Label value of each class by name.
        out: Folder for the overlay PNG.
        progress: Called with a line of text before each step.
    Returns:
        JSON-safe: ``conditions`` by name (``methods`` with raw and largest-component scores, ``seconds``),
        ``parts_ml``, ``overlay``, ``peak_memory_mib``.
    """
    study = load(image, reference)
    out.mkdir(parents=True, exist_ok=True)
    conditions: dict[str, Any] = {}
    for name in ("clean", *STRESSES):
        progress(f"{image.name}: {name}")
        volume = study if name == "clean" else perturb(study, name)
        begin = time.perf_counter()
        label = _segment_volume(segment, volume)
        conditions[name] = {"seconds": time.perf_counter() - begin} | _score_methods(
            label, volume, study, full=name == "clean"
        )
        if name == "clean":
            parts = {part: volume_ml(label == value, volume.spacing_mm) for part, value in labels.items()}
            overlay = out / f"{_stem(image)}.png"
            write_overlay(
                overlay, volume.image, label, volume.reference, volume.spacing_mm, labels=labels, title=_stem(image)
            )
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return json_safe(
        {"conditions": conditions, "parts_ml": parts, "overlay": str(overlay), "peak_memory_mib": round(peak_mib)}
    )


def perturb(study: Volume, name: str) -> Volume:
    """Return the study with a stress applied, and its reference resampled to the same grid."""
    image, affine = STRESSES[name](study.image, study.affine, SEED)
    return Volume(image, affine, resample_reference(study.reference, study.affine, affine))


def evaluate_cases(
    segment: Segment,
    cases: Sequence[Case],
    labels: Mapping[str, int],
    *,
    modality: str = CT,
    baseline: str = "",
    out: Path,
    progress: Progress,
) -> dict[str, Any]:
    """Evaluate the task on labelled cases.

    Args:
        segment: Maps an image file to a label on its grid.
        cases: Images with their labels; a class counts in the cases whose label covers it.
        labels: Label value of each class by name.
        modality: What the images are. Volumes outside the body are measured in CTs only, whose body is known by its HU.
        baseline: `AIR` compares the task with the threshold rule for air; empty compares it with nothing.
        out: Folder for one overlay PNG per case.
        progress: Called with a line of text before each case.
    Returns:
        JSON-safe: ``cases`` with the scores by case, ``summary`` with intervals, ``table`` with the path of the
        Markdown tables, ``overlays``, and with a baseline ``threshold_rule``, the summary of the rule.
    Raises:
        ValueError: If no case has a label.
        InputRejected: If a label has voxels of a class that it does not cover.
    """
    labelled = [case for case in cases if case.label is not None]
    if not labelled:
        raise ValueError("no case has a label: name a folder of images with labels in labels/final")
    out.mkdir(parents=True, exist_ok=True)
    scores: dict[str, Any] = {}
    rule = []
    for done, case in enumerate(labelled, start=1):
        progress(f"case {done} of {len(labelled)}: {case.id}")
        assert case.label is not None
        volume = load(case.image, case.label)
        label = volume.place(segment(case.image))
        inside = hull(volume.image, volume.spacing_mm) if modality == CT else None
        covered = parse_covered(case.covered, labels)
        check_covered(volume.reference, covered, labels)
        scores[case.id] = evaluate_case(
            label, volume.reference, volume.spacing_mm, labels, covered=covered, hull=inside
        )
        if baseline == AIR and all(covers(covered, tuple(labels))):
            threshold = fill_rule(volume.image, volume.spacing_mm).astype(np.uint8)
            truth = _merge_parts(volume.reference)
            rule.append(evaluate_case(threshold, truth, volume.spacing_mm, {UNION: 1}, hull=inside))
        write_overlay(
            out / f"{case.id}.png",
            volume.image,
            label,
            volume.reference,
            volume.spacing_mm,
            labels=labels,
            title=case.id,
            modality=modality,
        )
    summary, table = summarise(list(scores.values())), out / "summary.md"
    text = summary_table(summary)
    answer = {"cases": scores, "summary": summary, "table": str(table), "overlays": str(out)}
    if rule:
        rules = {"model": summary, "threshold rule": summarise(rule)}
        text, answer["threshold_rule"] = f"{text}\n{comparison_table(rules, UNION)}", rules["threshold rule"]
    table.write_text(text, encoding="utf-8")
    return json_safe(answer)


def _segment_volume(segment: Segment, volume: Volume) -> Label:
    """Segment a volume from a file, as users do."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image.nii.gz"
        stored = np.clip(np.rint(volume.image), -32768, 32767).astype(np.int16)
        nib.save(nib.Nifti1Image(stored, volume.affine), path)
        return segment(path)


def _score_methods(label: Label, volume: Volume, study: Volume, *, full: bool) -> dict[str, Any]:
    """Score the model and the two threshold rules on the union of all parts, raw and by largest component.

    The body's hull is found on the unperturbed scan, because it defines "outside" and is not itself evaluated.
    """
    inside = hull(study.image if volume.image.shape == study.image.shape else volume.image, volume.spacing_mm)
    truth = _merge_parts(volume.reference)
    found = {
        "model": label > 0,
        "fill_rule": fill_rule(volume.image, volume.spacing_mm),
        "reference_recipe": reference_airway(volume.image, volume.spacing_mm),
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
    selected = scores if full else {key: scores[key] for key in ("dice", "volume_ml", "betti")}
    return selected | {"outside_ml": case["outside_ml"], "unconnected_ml": case["unconnected_ml"]}


def _merge_parts(reference: Label) -> Label:
    """Return the union of all parts as one label; 255 (ignore) stays."""
    return np.where(reference == 255, 255, reference > 0).astype(np.uint8)


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")
