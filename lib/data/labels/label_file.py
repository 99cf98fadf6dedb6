"""Read a label file onto the grid of its image, with the values of an app's labels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lib.data.findings import reject
from lib.data.formats import Header, load_layers, read_label_header
from lib.data.labels.names import (
    NamedValue,
    check_label_info,
    check_named_once,
    map_label_info,
    map_segments,
    parse_label_info,
    refuse_overlap,
)
from lib.data.labels.placing import place, place_in_picture
from lib.data.labels.slicer_segments import Segment, find_segments
from lib.data.labels.values import IGNORE, check_values, count_values, first_voxel, whole_numbers
from lib.data.validate import MAX_VOLUME_GIB


@dataclass(frozen=True, eq=False)
class LabelFile:
    """A label on the grid of its image.

    Args:
        voxels: Label values, uint8, in the shape of the image.
        is_plain: Whether the file itself holds these values in this order and shape, as any program reads them, and
            names no segments.
    """

    voxels: NDArray[np.uint8]
    is_plain: bool


def read_label(
    path: str | Path,
    shape: Sequence[int],
    affine: NDArray[Any],
    values: Mapping[str, int] | None = None,
    label_info: Any = None,
    *,
    in_pixels: bool = False,
) -> LabelFile:
    """Return a label on the grid of an image. A change of axis order or direction is exact; nothing is resampled.

    A PNG with a palette holds the indices as values, and a PNG of few bits its stored values.

    Args:
        path: The label file.
        shape: Shape of the image, ``(X, Y)`` or ``(X, Y, Z)``.
        affine: Affine of the image, ``(4, 4)``, voxel index to RAS+ mm.
        values: The app's value of each label. None accepts every value from 0 to `IGNORE`, and refuses a file that
            names its segments.
        label_info: Names of the values in the file that a client sent; see `names.parse_label_info`.
        in_pixels: Whether the image is a picture (`Header.in_pixels`): the size of the label decides, and no spacing.
    Raises:
        InputRejected: If the file cannot be opened (the codes of `lib.data.formats.load`), WRONG_DIMENSION, LABEL_GRID,
            LABEL_VALUES, LABEL_NAMES, or LABEL_OVERLAP if segments of several layers share voxels.
    """
    path = Path(path)
    header = read_label_header(path)
    segments, named = find_segments(header.metadata), parse_label_info(label_info)
    _check_layers(header, segments)
    if segments and values is None:
        reason = f"The label '{path.name}' names its segments ({_names(segments)}), and the labels are not known here."
        raise reject("LABEL_NAMES", reason, "Export it as a label map without names, with the values of the app.")
    # Voxels are loaded only if the header's grid fits, so a header that announces a huge array costs nothing.
    grid = header.spatial_shape, header.affine
    if in_pixels and not (segments and (*grid[0], 1)[:3] != (*shape, 1)[:3]):
        placement = place_in_picture(path.name, *grid, shape)
    else:
        placement = place(path.name, *grid, shape, affine, may_be_part=bool(segments))
    layers = [whole_numbers(layer) for layer in load_layers(path, header)]
    if segments and values is not None:
        label, table = _merge_layers(layers, segments, values, header)
        check_label_info(named, table, count_values(label), values)
    else:
        label = _map_values(layers[0], values, named)
    on_grid = placement.apply(label.reshape((*label.shape, 1)[:3]), path.name).reshape(tuple(shape))
    # Programs differ in how they read a palette and few bits: as colours, as values, or stretched to 255.
    is_stored = header.spatial_shape == tuple(shape) and not (header.in_pixels and header.details)
    is_plain = is_stored and not segments and placement.is_identity and np.array_equal(label, layers[0])
    return LabelFile(on_grid, is_plain)


def _check_layers(header: Header, segments: Sequence[Segment]) -> None:
    layers = header.components
    if header.in_pixels:
        _check_picture(header)
    if len(header.spatial_shape) > 3 or (layers > 1 and not segments):
        count = layers if layers > 1 else prod(header.spatial_shape[3:])
        reason = f"The label '{header.path.name}' has {count} layers and no names of segments; one layer is expected."
        raise reject("WRONG_DIMENSION", reason, "Export it as one label map, without overlapping segments.")
    if header.size_gib > MAX_VOLUME_GIB:
        reason = (
            f"The header of '{header.path.name}' announces {header.size_gib:.1f} GiB; the limit is {MAX_VOLUME_GIB:g}."
        )
        raise reject("TOO_LARGE", reason, "Export the label as uint8, on the grid of its image.")
    for segment in segments:
        if segment.layer >= layers:
            reason = (
                f"The header places the segment '{segment.name}' in layer {segment.layer} of {layers} (0 is first)."
            )
            raise reject("LABEL_NAMES", reason, "Save the segmentation again with the program that wrote it.")


def _check_picture(header: Header) -> None:
    if header.path.suffix.lower() in (".jpg", ".jpeg"):
        reason = f"The label '{header.path.name}' is a JPEG, whose compression changes the values of pixels."
        raise reject("LABEL_VALUES", reason, "Export the label as PNG, from the program in which it was drawn.")
    if header.components > 1:
        reason = f"The label '{header.path.name}' holds colours ({header.components} values for each pixel)."
        remedy = "Colours are no label values: export it as a grey PNG, or as a PNG with a palette."
        raise reject("WRONG_DIMENSION", reason, remedy)


def _map_values(
    layer: NDArray[Any], values: Mapping[str, int] | None, named: Sequence[NamedValue]
) -> NDArray[np.uint8]:
    """Return one layer with the app's values, by the names of a client if there are any."""
    present = count_values(layer)
    if named and values is not None:
        return _apply(map_label_info(named, present, values), layer)
    check_values(layer, present, values)
    return layer.astype(np.uint8, copy=False)


def _merge_layers(
    layers: Sequence[NDArray[Any]], segments: Sequence[Segment], values: Mapping[str, int], header: Header
) -> tuple[NDArray[np.uint8], dict[int, int] | None]:
    """Return the layers as one label with the app's values, and the table of values if there is one layer only."""
    tables = []
    for number, layer in enumerate(layers):
        own = [segment for segment in segments if segment.layer == number]
        tables.append(map_segments(own, count_values(layer), values))
    check_named_once(tables, values)
    label = _apply(tables[0], layers[0])
    for table, layer in zip(tables[1:], layers[1:], strict=True):
        mapped = _apply(table, layer)
        _check_overlap(label, mapped, values, header)
        np.copyto(label, mapped, where=mapped > 0)
    return label, tables[0] if len(layers) == 1 else None


def _apply(table: Mapping[int, int], layer: NDArray[Any]) -> NDArray[np.uint8]:
    lookup = np.zeros(max(table) + 1, np.uint8)
    for value, known in table.items():
        lookup[value] = known
    return lookup[layer]


def _check_overlap(
    label: NDArray[np.uint8], mapped: NDArray[np.uint8], values: Mapping[str, int], header: Header
) -> None:
    shared = (label > 0) & (mapped > 0) & (label != mapped)
    if not shared.any():
        return
    at = first_voxel(shared)
    names = {IGNORE: "ignore"} | {value: name for name, value in values.items()}
    pair = shared & (label == label[at]) & (mapped == mapped[at])
    position = header.affine[:3, :3] @ (*at, 0)[:3] + header.affine[:3, 3]
    mm, voxel = ", ".join(f"{number:.1f}" for number in position), ", ".join(map(str, at))
    first, second, count = names[int(label[at])], names[int(mapped[at])], int(np.count_nonzero(pair))
    raise refuse_overlap(first, second, count, f"voxel ({voxel}), ({mm}) mm (RAS)")


def _names(segments: Sequence[Segment]) -> str:
    return ", ".join(f"'{segment.name}'" for segment in segments[:12])
