"""Input gate: check an image before a model sees it, cheap checks first."""

from collections.abc import Iterator, Sequence
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.findings import Finding, InputRejected
from lib.data.formats import Header, Volume, load, read_header
from lib.data.modality import ANY, CT, MODALITIES, MR, PT, RGB, US, XR
from lib.data.volumes.colour import COLOURS, with_channels, wrong_channels

MAX_VOLUME_GIB = 2.0
MIN_SPACING_MM = 0.05
MAX_SPACING_MM = 20.0
MAX_SHEAR_COSINE = 0.02
"""Largest cosine of the angle between two axes; 0.02 is about one degree away from a right angle."""
AIR_HU = (-1500.0, -400.0)
"""Range of air in HU. Lower values are padding outside of the scanner's field of view."""
TISSUE_HU = (-300.0, 5000.0)
"""Range of soft tissue, bone and metal in HU, with room for a calibration shift of 150 HU."""
MAX_SATURATED_FRACTION = 0.05
"""Largest fraction of the voxels of an MR that may have the highest value."""
MAX_NEGATIVE_FRACTION = 0.05
"""Largest negative value of a PET, as a fraction of its highest value; reconstructions undershoot a little."""
MIN_AIR_FRACTION = 0.001
MIN_TISSUE_FRACTION = 0.005
OFFSETS = (1000, 1024, 2048, 8192, 32768)
"""Offsets by which stored values of CT exceed Hounsfield units in files that lost their rescale intercept."""
HU_SAMPLES = 500_000
"""Number of blocks that the check of Hounsfield units examines; a larger volume is sampled."""

__all__ = ["Finding", "InputRejected", "check", "inspect"]


def inspect(
    source: str | Path | Volume | NDArray[Any], *, modality: str = CT, max_gib: float = MAX_VOLUME_GIB
) -> list[Finding]:
    """Return all findings of an image; an empty list means that the image is accepted.

    Voxels are loaded only if the header has no findings. Only the voxels of an array are checked.

    Args:
        source: An image file, the folder of a DICOM series, a loaded volume, or an array of intensities.
        modality: What the image must be, a key of `lib.data.modality.MODALITIES`. A CT must have plausible Hounsfield
            units, a colour photograph three channels; "any" accepts any image of one channel.
        max_gib: Largest accepted size of the stored voxels, in GiB.
    """
    return _examine(source, modality, max_gib)[0]


def check(source: str | Path | Volume, *, modality: str = CT, max_gib: float = MAX_VOLUME_GIB) -> Volume:
    """Return the loaded image if it has no findings, for `lib.data.pipeline.read`.

    Raises:
        InputRejected: With all findings of `inspect`.
    """
    findings, volume = _examine(source, modality, max_gib)
    if findings or volume is None:
        raise InputRejected(findings)
    return volume


def _examine(
    source: str | Path | Volume | NDArray[Any], modality: str, max_gib: float
) -> tuple[list[Finding], Volume | None]:
    if isinstance(source, np.ndarray):
        source = Volume(source, np.eye(4))
    try:
        if isinstance(source, Volume):
            volume = source
            findings = [*_shape(source.voxels.shape), *_geometry(source.affine, source.voxels.shape)]
        else:
            header = read_header(source)
            findings = list(_header(header, modality, max_gib))
            volume = None if findings else load(source, header)
    except InputRejected as rejected:
        return list(rejected.findings), None
    if volume is not None and not findings:
        volume = with_channels(volume, COLOURS if modality == RGB else 1)
        findings = [
            *_components(len(volume.others) + 1, modality),
            *_voxels((volume.voxels, *volume.others), modality),
        ]
    return findings, volume


def _header(header: Header, modality: str, max_gib: float) -> Iterator[Finding]:
    wrong_shape = list(_shape(header.spatial_shape))
    yield from wrong_shape
    yield from _components(header.components, modality)
    if header.size_gib > max_gib:
        reason = (
            f"The header announces {header.size_gib:.1f} GiB of voxels, {header.shape}; the limit is {max_gib:g} GiB."
        )
        yield Finding("TOO_LARGE", reason, "Crop the image to the region of interest, or store it as int16.")
    accepted = MODALITIES[modality]
    if accepted and header.modality and header.modality not in accepted:
        reason = f"The DICOM modality is {header.modality}, and this task needs {' or '.join(accepted)}."
        yield Finding("UNKNOWN_MODALITY", reason, f"Choose a {accepted[0]} series.")
    if not wrong_shape:
        yield from _geometry(_without_tilt(header), header.spatial_shape)


def _components(count: int, modality: str) -> Iterator[Finding]:
    wanted = COLOURS if modality == RGB else 1
    # Scanners store grey images of these modalities in colour as well.
    if count != wanted and not (count == COLOURS and modality in (US, XR, ANY)):
        yield Finding(*wrong_channels(count, wanted))


def _without_tilt(header: Header) -> NDArray[Any]:
    """Return the affine with slices straight above each other, if the reader knows the position of each slice."""
    if header.origins is None:
        return header.affine
    straight = header.affine.copy()
    normal = np.cross(straight[:3, 0], straight[:3, 1])
    normal /= np.linalg.norm(normal)
    straight[:3, 2] = normal * (normal @ straight[:3, 2])
    return straight


def _shape(shape: tuple[int, ...]) -> Iterator[Finding]:
    if not shape or min(shape) < 1:
        yield Finding("EMPTY", f"The image has no voxels: its shape is {shape}.", "Export the image again.")
    elif len(shape) > 3:
        reason = f"The image has {len(shape)} axes, {shape}: a time series or several channels."
        yield Finding("WRONG_DIMENSION", reason, "Send one volume with three axes.")
    elif sum(n > 1 for n in shape) < 2:
        yield Finding("WRONG_DIMENSION", f"The image is a single line of voxels, {shape}.", "Send a slice or a volume.")


def _geometry(affine: NDArray[Any], shape: tuple[int, ...]) -> Iterator[Finding]:
    remedy = "Export the image again with its geometry, or resample it to a grid with right angles."
    if not np.isfinite(affine).all():
        yield Finding("BAD_AFFINE", "The affine holds values that are not finite numbers.", remedy)
        return
    spacing_mm = np.linalg.norm(affine[:3, :3], axis=0)
    if (spacing_mm == 0).any():
        yield Finding(
            "BAD_AFFINE", f"The affine has an axis of length 0: the voxel spacing is {_mm(spacing_mm)}.", remedy
        )
        return
    axes = affine[:3, :3] / spacing_mm
    cosine = float(np.abs(axes.T @ axes - np.eye(3)).max())
    if cosine > MAX_SHEAR_COSINE:
        degrees = np.rad2deg(np.arccos(min(cosine, 1.0)))
        yield Finding(
            "BAD_AFFINE", f"The angle between two axes of the affine is {degrees:.1f} degrees, not 90.", remedy
        )
    sides_mm = spacing_mm[: len(shape)][np.array(shape) > 1]
    if (sides_mm < MIN_SPACING_MM).any() or (sides_mm > MAX_SPACING_MM).any():
        reason = f"The voxel spacing is {_mm(spacing_mm)}; {MIN_SPACING_MM} to {MAX_SPACING_MM} mm is plausible."
        yield Finding("SPACING_ABSURD", reason, "Check that the spacing is stored in millimetres.")


def _mm(spacing_mm: NDArray[Any]) -> str:
    return " x ".join(f"{value:.4g}" for value in spacing_mm) + " mm"


def _voxels(channels: Sequence[NDArray[Any]], modality: str) -> Iterator[Finding]:
    size = sum(channel.size for channel in channels)
    finite = sum(int(np.isfinite(c).sum()) if c.dtype.kind == "f" else c.size for c in channels)
    if finite < size:
        reason = f"{size - finite:,} of {size:,} voxels are not finite numbers."
        value = "-1024 outside the scan" if modality == CT else "0 outside the object"
        yield Finding("NON_FINITE", reason, f"Replace NaN and infinity, for example by {value}.")
        return
    low, high = min(float(c.min()) for c in channels), max(float(c.max()) for c in channels)
    if low == high:
        yield Finding("EMPTY", f"All voxels have the value {low:g}.", "Choose an image with content.")
    elif modality == CT:
        yield from _hounsfield_findings(channels[0], low, high)
    elif modality == MR:
        yield from _saturated(channels[0], high)
    elif modality == PT and low < -MAX_NEGATIVE_FRACTION * high:
        reason = f"Values run from {low:g} to {high:g}; the activity of a PET is not negative."
        yield Finding("INTENSITY_RANGE", reason, "Send the reconstructed PET with its rescale slope.")


def _saturated(voxels: NDArray[Any], high: float) -> Iterator[Finding]:
    """Check that the brightest value is rare: an MR that was clipped, or a mask, has many voxels with that value."""
    fraction = float((voxels == high).mean())
    if fraction > MAX_SATURATED_FRACTION:
        reason = (
            f"{fraction:.1%} of the voxels have the highest value, {high:g}: the image is clipped, or it is a mask."
        )
        yield Finding("SATURATED", reason, "Send the image as the scanner stored it.")


def _hounsfield_findings(voxels: NDArray[Any], low: float, high: float) -> Iterator[Finding]:
    """Check that intensities are Hounsfield units, on block means: noise of 250 HU must not look like air or tissue."""
    blocks = _blocks(voxels)
    air, tissue = _fractions(blocks)
    if air >= MIN_AIR_FRACTION and tissue >= MIN_TISSUE_FRACTION:
        return
    remedy = "Send the CT in Hounsfield units (air near -1000, water near 0)."
    scale = f"Values run from {low:g} to {high:g}"
    if low >= -1 and high <= 1:
        reason = f"{scale}: the image was scaled to a unit range."
    elif low >= 0 and high <= 255:
        reason = f"{scale}: these are 8-bit grey values."
    elif (offset := _offset(blocks)) is not None:
        reason = f"{scale}: they are Hounsfield units with {offset} added, as stored without the rescale intercept."
        remedy = (
            f"Subtract {offset}: set the rescale intercept to -{offset}, or export the CT again in Hounsfield units."
        )
    elif air < MIN_AIR_FRACTION:
        between = f"between {AIR_HU[0]:g} and {AIR_HU[1]:g} HU"
        reason = f"{scale}, and only {air:.2%} of the image is {between}: the image holds no air."
    else:
        between = f"between {TISSUE_HU[0]:g} and {TISSUE_HU[1]:g} HU"
        reason = f"{scale}, and only {tissue:.2%} of the image is {between}: the image shows no body."
    yield Finding("HU_IMPLAUSIBLE", reason, remedy)


def _fractions(blocks: NDArray[Any]) -> tuple[float, float]:
    """Return the fractions of the blocks with the values of air and of tissue."""
    ranges = (AIR_HU, TISSUE_HU)
    air, tissue = (np.count_nonzero((blocks > low) & (blocks < high)) / max(blocks.size, 1) for low, high in ranges)
    return air, tissue


def _offset(blocks: NDArray[Any]) -> int | None:
    """Return the offset after whose removal the values are Hounsfield units with air nearest to -1000."""
    errors: dict[int, float] = {}
    for offset in OFFSETS:
        shifted = blocks - offset
        if all(np.array(_fractions(shifted)) >= (MIN_AIR_FRACTION, MIN_TISSUE_FRACTION)):
            air = shifted[(shifted > AIR_HU[0]) & (shifted < AIR_HU[1])]
            errors[offset] = abs(float(np.median(air)) + 1000)
    return min(errors, key=errors.__getitem__) if errors else None


def _blocks(voxels: NDArray[Any]) -> NDArray[Any]:
    """Return the means of blocks of 2 voxels along each axis, evenly spread over the image, without padding."""
    stride = max(2, ceil((voxels.size / HU_SAMPLES) ** (1 / sum(n > 1 for n in voxels.shape))))
    corners = [voxels]
    for axis, size in enumerate(voxels.shape):
        if size > 1:
            count = (size - 2) // stride + 1
            pick = [slice(start, start + (count - 1) * stride + 1, stride) for start in (0, 1)]
            corners = [part[(slice(None),) * axis + (p,)] for part in corners for p in pick]
    means = np.mean(corners, axis=0, dtype=np.float32)
    return means[np.min(corners, axis=0) > AIR_HU[0]]
