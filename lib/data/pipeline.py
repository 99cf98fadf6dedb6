"""Read an image file onto a RAS grid of fixed spacing, and map labels back to the file's own grid."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from numpy.typing import ArrayLike, DTypeLike, NDArray
from torch import Tensor

from lib.data.channels import ChannelSpec, add_channels, build_channels
from lib.data.files.tables import SpecError, build_dataclass, check_choice
from lib.data.findings import reject
from lib.data.formats import Volume, load
from lib.data.intensity import INTENSITIES, UNIT, USUAL_SD, WINDOW, ZSCORE, Scale, apply_scales, fit_scale
from lib.data.labels.label_file import read_label
from lib.data.labels.values import IGNORE as IGNORE  # many modules take it from here
from lib.data.modality import CT, MODALITIES, RGB
from lib.data.validate import check
from lib.data.volumes.body import body_box
from lib.data.volumes.colour import COLOURS, with_channels, wrong_channels
from lib.data.volumes.grid import Grid
from lib.data.volumes.restore import restore
from lib.data.volumes.save import write_volume
from lib.data.volumes.straight import StraightGrid

logger = logging.getLogger(__name__)

_OLD_WINDOW_KEY = "window_hu"


@dataclass(frozen=True)
class ImageSpec:
    """Grid, intensity mapping and patch size that a network expects.

    Args:
        spacing_mm: Sample spacing towards right, anterior and superior, in mm.
        window: Stored intensities that are mapped to 0 and 1; the mapping is inverted if the first is above the second.
            Unused unless `intensity` is "window".
        roi: Patch size in samples: two entries for a 2.5-D network, three for a 3-D network.
        slice_offsets: Slices that a 2.5-D network takes as channels, relative to the labelled slice.
        crop_margin_mm: Margin that is kept around the body, in mm. None keeps the whole field of view. Predictions are
            background in the part that is cropped away.
        intensity: How stored intensities are mapped for the network, one of `lib.data.intensity.INTENSITIES`.
        modality: What the images are, a key of `lib.data.modality.MODALITIES`; the checks of an image follow it.
        channels: The channels of an image that has several, the reference first; none for an image of its own.
    """

    spacing_mm: tuple[float, float, float]
    window: tuple[float, float]
    roi: tuple[int, ...]
    slice_offsets: tuple[int, ...] = (0,)
    crop_margin_mm: float | None = None
    intensity: str = WINDOW
    modality: str = CT
    channels: tuple[ChannelSpec, ...] = ()

    @property
    def colours(self) -> int:
        """Number of channels of the reference: 3 for a colour photograph."""
        return COLOURS if self.modality == RGB else 1

    @property
    def channel_count(self) -> int:
        """Number of channels of an image: the colours of its reference and the further channels."""
        return self.colours + len(self.channels[1:])

    @property
    def optional(self) -> tuple[int, ...]:
        """Indices of the channels that a case may lack."""
        return tuple(self.colours + i for i, channel in enumerate(self.channels[1:]) if channel.optional)

    @property
    def standardised(self) -> bool:
        """Whether the network receives images with mean 0 and standard deviation 1; others are in [0, 1]."""
        return self.intensity == ZSCORE

    def mapping(self, index: int) -> tuple[str, tuple[float, ...]]:
        """Return how the intensities of a channel are mapped, and the two of its window."""
        own = max(0, index - self.colours + 1)
        channel = self.channels[own] if self.channels else ChannelSpec("")
        return channel.intensity or (WINDOW if channel.window else self.intensity), channel.window or self.window

    @property
    def network_range(self) -> tuple[float, float]:
        """What the ends of the usual range of intensities become for the network."""
        return (-USUAL_SD, USUAL_SD) if self.standardised else (0.0, 1.0)

    @property
    def patch_side_mm(self) -> float:
        """Longest side of a patch in the plane of right and anterior, in mm."""
        return max(side * step for side, step in zip(self.roi[:2], self.spacing_mm[:2], strict=True))

    def legacy_fields(self) -> dict[str, Any]:
        """Return the fields under their first names, as stored plans and cache keys hold them.

        Newer fields are left out at their defaults, so that plans and cache keys from before these fields
        still match.
        """
        fields = {
            "spacing_mm": self.spacing_mm,
            _OLD_WINDOW_KEY: self.window,
            "roi": self.roi,
            "slice_offsets": self.slice_offsets,
            "crop_margin_mm": self.crop_margin_mm,
        }
        newer = {
            "intensity": (self.intensity, WINDOW),
            "modality": (self.modality, CT),
            "channels": (self.channels, ()),
        }
        return fields | {name: value for name, (value, default) in newer.items() if value != default}

    def legacy_text(self) -> str:
        """Return the text that keys of stored scores are hashed from."""
        return f"ImageSpec({', '.join(f'{name}={value!r}' for name, value in self.legacy_fields().items())})"


def build_image_spec(block: Mapping[str, Any], where: str) -> ImageSpec:
    """Return the image specification that a TOML table declares.

    The old key ``window_hu`` is still accepted in place of ``window``, and a warning is logged.

    Args:
        block: The table.
        where: Place of the table in its file, for messages.
    Raises:
        SpecError: If a key or a value is not accepted, or both names of the window are given.
    """
    block = dict(block)
    if _OLD_WINDOW_KEY in block:
        if "window" in block:
            raise SpecError(f"{where} has window and {_OLD_WINDOW_KEY}, which are one key: remove {_OLD_WINDOW_KEY}")
        logger.warning("%s: %s is deprecated; write window", where, _OLD_WINDOW_KEY)
        block["window"] = block.pop(_OLD_WINDOW_KEY)
    intensity, modality = block.get("intensity", WINDOW), block.get("modality", CT)
    check_choice(intensity, INTENSITIES, f"{where} intensity")
    check_choice(modality, tuple(MODALITIES), f"{where} modality")
    if intensity != WINDOW and "window" in block:
        raise SpecError(f"{where} window: only intensity = '{WINDOW}' takes a window; remove one of the two keys")
    if intensity != WINDOW:
        block["window"] = [0.0, 1.0]
    channels = build_channels(block.pop("channels", []), f"{where} channels")
    spec = build_dataclass(ImageSpec, block, where, channels=channels)
    _check_channels(spec, where)
    if spec.crop_margin_mm is not None and spec.modality != CT:
        raise SpecError(
            f"{where} crop_margin_mm: the body is found by Hounsfield units; only modality = '{CT}' takes it"
        )
    return spec


def _check_channels(spec: ImageSpec, where: str) -> None:
    """Raise if the intensities of the channels do not go together."""
    used = [spec.mapping(index)[0] for index in range(spec.channel_count)]
    for channel, intensity in zip(spec.channels[1:], used[spec.colours :], strict=True):
        if intensity == UNIT:
            raise SpecError(f"{where} channels '{channel.name}' needs intensity: '{UNIT}' is for the reference only")
        if intensity == WINDOW and not channel.window and spec.intensity != WINDOW:
            raise SpecError(f"{where} channels '{channel.name}' needs window")
    if len({intensity == ZSCORE for intensity in used}) > 1:
        raise SpecError(f"{where} channels: all of them or none take intensity = '{ZSCORE}'")


@dataclass(frozen=True, eq=False)
class Reading:
    """An image on the network's grid, and the mapping back to the grid of its file.

    Args:
        intensities: Stored intensities, float32 ``(C, X, Y, Z)``, in HU for a CT. A 2-D source has one slice.
        label: Labels on the same grid, uint8 ``(X, Y, Z)``; None without a label file.
        grid: The mapping between the network's grid and the source grid, or the straight grid of the source.
        straight: The straight grid of a source whose slices are shifted sideways or unevenly spaced; else None.
        scales: Maps of the channels to the range of the network; by default intensities are in [0, 1] already.
    """

    intensities: Tensor
    label: Tensor | None
    grid: Grid
    straight: StraightGrid | None = None
    scales: tuple[Scale, ...] = (Scale(0.0, 1.0),)

    def normalised(self) -> Tensor:
        """Return the image as the network expects it, float32 ``(C, X, Y, Z)``, in new memory."""
        return apply_scales(self.intensities, self.scales)

    @property
    def affine(self) -> NDArray[Any]:
        """Affine ``(4, 4)`` from grid index to RAS+ mm."""
        return self.grid.affine

    @property
    def source_affine(self) -> NDArray[Any]:
        """Affine ``(4, 4)`` from source index to RAS+ mm."""
        return (self.straight or self.grid).source_affine

    @property
    def source_shape(self) -> tuple[int, ...]:
        """Shape of the file, ``(X, Y)`` or ``(X, Y, Z)``."""
        return (self.straight or self.grid).source_shape

    @property
    def source_codes(self) -> tuple[str, ...]:
        """Directions of the file's axes, such as ``("L", "P", "S")``."""
        return tuple(str(code) for code in nib.aff2axcodes(self.source_affine))

    def to_source(self, label: Tensor | NDArray[Any]) -> NDArray[np.uint8]:
        """Return a grid label ``(X, Y, Z)`` on the source grid, with its shape, axis order and flips."""
        return self._to_slices(self.grid.label_to_source(torch.as_tensor(label).to(torch.uint8)))

    def restore(self, slabs: Iterable[tuple[int, Tensor]]) -> NDArray[np.uint8]:
        """Return labels on the source grid from the logits that `Predictor.slabs` yields on the network's grid."""
        return self._to_slices(restore(slabs, self.grid))

    def points_to_grid(self, ijk: ArrayLike) -> NDArray[Any]:
        """Return grid indices ``(n, 3)``, not rounded, of source voxel indices ``(n, 3)``."""
        points = ijk if self.straight is None else self.straight.points_to_grid(ijk)
        return _transform(np.linalg.inv(self.grid.to_source), points)

    def points_to_source(self, xyz: ArrayLike) -> NDArray[Any]:
        """Return source voxel indices ``(n, 3)``, not rounded, of grid indices ``(n, 3)``."""
        points = _transform(self.grid.to_source, xyz)
        return points if self.straight is None else self.straight.points_to_slices(points)

    def _to_slices(self, label: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return label if self.straight is None else self.straight.to_slices(label)


def _transform(matrix: NDArray[Any], points: ArrayLike) -> NDArray[Any]:
    points = np.asarray(points, np.float64).reshape(-1, 3)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def read(source: str | Path | Volume, spec: ImageSpec, label: str | Path | None = None) -> Reading:
    """Return an image, and its label if one is given, on the network's grid.

    Intensities are interpolated linearly, with a wider kernel along axes that are downsampled. Labels take the nearest
    voxel. An oblique volume keeps its own axes, ordered and flipped to be closest to RAS. Slices of a tilted gantry or
    with uneven spacing are resampled to a straight grid first.

    Args:
        source: An image file, the folder of a DICOM series, or a volume that `open_image` returned.
        spec: Spacing and crop of the grid.
        label: A label file on the grid of the image.
    Raises:
        InputRejected: If a file cannot be opened, or the label is not on the grid of the image.
    """
    volume = with_channels(source, spec.channel_count) if isinstance(source, Volume) else _load(Path(source), spec)
    if len(volume.others) + 1 != spec.channel_count:
        raise reject(*wrong_channels(len(volume.others) + 1, spec.channel_count))
    shape, affine = volume.voxels.shape, volume.affine
    marks = None if label is None else load_label(label, shape, affine, in_pixels=volume.in_pixels)
    straight = None if volume.origins is None else StraightGrid(shape, affine, volume.origins)
    voxels = volume.voxels if straight is None else straight.image(volume.voxels)
    marks = marks if straight is None or marks is None else straight.label(marks)
    grid = Grid.over(voxels.shape, affine if straight is None else straight.affine, spec.spacing_mm)
    if spec.crop_margin_mm is not None:
        box = body_box(voxels, np.linalg.norm(grid.source_affine[:3, :3], axis=0), spec.crop_margin_mm)
        grid = grid if box is None else grid.cropped(box)
    labels = None if marks is None else grid.label(marks)
    channels = [voxels, *(one if straight is None else straight.image(one) for one in volume.others)]
    images = [grid.image(channel)[None] for channel in channels]
    intensities = torch.cat(images) if len(images) > 1 else images[0]
    return Reading(intensities, labels, grid, straight, find_scales(volume, spec))


def open_image(path: str | Path, spec: ImageSpec) -> Volume:
    """Return an image with its further channels, after the checks of the input gate; `read` takes it.

    Raises:
        InputRejected: If the gate refuses the image or a channel, a channel lacks (see `lib.data.channels`), or the
            image is a loop of frames and the network takes volumes.
    """
    volume = check(path, modality=spec.modality)
    if volume.header is not None and volume.header.has_loose_frames and len(spec.roi) == 3:
        reason = f"The file holds {volume.voxels.shape[2]} frames without positions, and this task segments volumes."
        raise reject("WRONG_DIMENSION", reason, "Send a volume, or use a task with a 2-D roi: it segments each frame.")
    return add_channels(
        volume, Path(path), spec.channels, lambda file, channel: check(file, modality=channel.modality or spec.modality)
    )


def _load(path: Path, spec: ImageSpec) -> Volume:
    """Return an image with its further channels, without checks."""
    volume = with_channels(load(path), spec.colours)
    return add_channels(volume, path, spec.channels, lambda file, _: with_channels(load(file), 1))


def find_scales(volume: Volume, spec: ImageSpec) -> tuple[Scale, ...]:
    """Return the maps of an image's channels to the range of the network.

    The statistics are those of the whole file, whatever part of it is read.
    """
    channels = (volume.voxels, *volume.others)
    return tuple(_find_scale(volume, channel, index, spec) for index, channel in enumerate(channels))


def _find_scale(volume: Volume, channel: NDArray[Any], index: int, spec: ImageSpec) -> Scale:
    intensity, window = spec.mapping(index)
    if index in volume.missing:
        return Scale(0.0, 1.0, intensity == ZSCORE, missing=True)
    return fit_scale(channel, intensity, window, volume.stored_bytes)


def load_label(
    path: str | Path, shape: tuple[int, ...], affine: NDArray[Any], *, in_pixels: bool = False
) -> NDArray[np.uint8]:
    """Return the voxels of a label file on the grid of an image, in the shape of the image.

    Args:
        path: The label file.
        shape: Shape of the image, ``(X, Y)`` or ``(X, Y, Z)``.
        affine: Affine of the image, ``(4, 4)``, voxel index to RAS+ mm.
        in_pixels: Whether the image is a picture, which has no geometry; see `Header.in_pixels`.
    Raises:
        InputRejected: If the file cannot be opened, is not on the grid of the image, names its segments, or holds other
            values than labels; see `lib.data.labels.label_file.read_label`.
    """
    return read_label(path, shape, affine, in_pixels=in_pixels).voxels


def write_label(array: NDArray[Any], where: Reading | ArrayLike, path: str | Path, dtype: DTypeLike = np.uint8) -> Path:
    """Write a label on a source grid to a file, atomically.

    Args:
        array: Label ``(X, Y)`` or ``(X, Y, Z)``, as `Reading.to_source` returns it.
        where: The reading, or the affine ``(4, 4)`` of the source grid.
        path: Output file; see `lib.data.volumes.save.write_volume`.
        dtype: Voxel type of the file.
    Raises:
        ValueError: If the array does not have the shape of the source, or the format cannot hold it.
    """
    if isinstance(where, Reading) and array.shape != where.source_shape:
        raise ValueError(f"the label has shape {array.shape}, its source has {where.source_shape}")
    affine = where.source_affine if isinstance(where, Reading) else where
    return write_volume(np.asarray(array, dtype), affine, path)
