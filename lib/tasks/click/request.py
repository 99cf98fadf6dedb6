"""Parse the clicks of a request into clicks per label, or reject them with a code, a reason and a remedy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lib.data.findings import reject

Voxel = tuple[int, int, int]
AXES = "ijk"
FOREGROUND, BACKGROUND = "foreground", "background"


@dataclass(frozen=True)
class Marks:
    """Clicks and box of one label, in voxel indices of the stored image.

    Args:
        foreground: Clicks on the object.
        background: Clicks outside the object.
        box: First and last voxel of a box around the object, both inside the box.
    """

    foreground: tuple[Voxel, ...] = ()
    background: tuple[Voxel, ...] = ()
    box: tuple[Voxel, Voxel] | None = None

    def on_slice(self, slice_index: int) -> "Marks":
        """Return the clicks on one slice, and the box unchanged."""
        kept = [tuple(p for p in points if p[2] == slice_index) for points in (self.foreground, self.background)]
        return replace(self, foreground=kept[0], background=kept[1])


@dataclass(frozen=True)
class ClickRequest:
    """The parsed clicks of one request.

    Args:
        marks: Marks by label; only labels that have a mark.
        slice_index: Index of the slice to segment; None for all slices.
        label: Label that the client names; empty if it names none.
    """

    marks: Mapping[str, Marks] = field(default_factory=dict)
    slice_index: int | None = None
    label: str = ""


def parse_object_clicks(
    request: Mapping[str, Any],
    shape: Sequence[int],
    name: str,
    known: Sequence[str],
    *,
    one_slice: bool,
    correcting: bool = False,
) -> ClickRequest:
    """Parse a request for one object (MONAI Label's deepgrow).

    Args:
        request: ``foreground`` and ``background`` are lists of ``[i, j, k]``; ``roi`` is a box, ``label`` the segment
            that the viewer draws into, ``slice`` the slice that the viewer shows.
        shape: Shape of the image, ``(X, Y)`` or ``(X, Y, Z)``.
        name: Name of the object.
        known: Labels that the client may name.
        one_slice: Whether to segment one slice only: the slice that the client names, else that of the last click.
        correcting: Whether a mask exists already, so that background clicks alone can correct it.
    Raises:
        InputRejected: CLICK_FORMAT, CLICK_OUTSIDE, NO_CLICKS, UNKNOWN_LABEL, ROI_FORMAT, EMPTY_ROI, SLICE_FORMAT or
            SLICE_OUTSIDE.
    """
    label = _label(request, (name, *known))
    foreground, background = (_points(request.get(key), shape, key) for key in (FOREGROUND, BACKGROUND))
    marks = Marks(foreground, background, _box(request.get("roi"), shape))
    index = _slice(request.get("slice"), shape, marks) if one_slice else None
    if index is not None:
        marks = marks.on_slice(index)
    if not marks.foreground and marks.box is None and not (correcting and marks.background):
        where = f" on slice {index}" if index is not None else ""
        raise reject(
            "NO_CLICKS",
            f"The request has no foreground click and no box{where}.",
            "Click on the object, or draw a box around it.",
        )
    return ClickRequest({name: marks}, index, label)


def parse_label_clicks(
    request: Mapping[str, Any], shape: Sequence[int], labels: Sequence[str], *, correcting: bool = False
) -> ClickRequest:
    """Parse a request for several labels (MONAI Label's deepedit).

    A foreground click of one label is a background click of all other labels.

    Args:
        request: A list of ``[i, j, k]`` per label name, and ``background``; ``roi`` is a box around the ``label``.
            ``foreground`` holds the clicks that Slicer sends for that ``label``.
        shape: Shape of the image, ``(X, Y)`` or ``(X, Y, Z)``.
        labels: Labels of the task.
        correcting: Whether a mask exists already.
    Raises:
        InputRejected: As `parse_object_clicks`.
    """
    label = _label(request, labels)
    _reject_unknown_labels(request, labels)
    points = {name: _points(request.get(name), shape, name) for name in labels}
    more, box = _points(request.get(FOREGROUND), shape, FOREGROUND), _box(request.get("roi"), shape)
    if (more or box) and not label:
        raise reject(
            "UNKNOWN_LABEL",
            "The request has foreground or roi, but no label.",
            "Send the name of the label as `label`.",
        )
    if label:
        points[label] += more
    background = _points(request.get(BACKGROUND), shape, BACKGROUND)
    outside = {name: sum((points[other] for other in labels if other != name), background) for name in labels}
    marks = {name: Marks(points[name], outside[name], box if name == label else None) for name in labels}
    marked = {name: mark for name, mark in marks.items() if mark.foreground or mark.box}
    if not marked and not (correcting and background):
        raise reject("NO_CLICKS", "No label has a click.", f"Click on one of {', '.join(labels)}.")
    return ClickRequest(marks if correcting else marked, None, label)


def _label(request: Mapping[str, Any], known: Sequence[str]) -> str:
    label = request.get("label") or ""
    if label and label not in known:
        raise _unknown(str(label), known)
    return label


def _reject_unknown_labels(request: Mapping[str, Any], labels: Sequence[str]) -> None:
    """Reject clicks for a label that the task does not have; empty lists for such labels are accepted."""
    for key, value in request.items():
        clicks = isinstance(value, list) and value and all(isinstance(point, list) for point in value)
        if clicks and key not in (FOREGROUND, BACKGROUND, *labels):
            raise _unknown(key, labels)


def _unknown(label: str, known: Sequence[str]) -> Exception:
    reason = f"This task has no label {label[:80]!r}."
    return reject("UNKNOWN_LABEL", reason, f"The labels are {', '.join(known)}.")


def _points(value: Any, shape: Sequence[int], field_name: str) -> tuple[Voxel, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise _not_a_click(field_name, value)
    return tuple(_point(point, shape, field_name) for point in value)


def _point(value: Any, shape: Sequence[int], field_name: str) -> Voxel:
    if not isinstance(value, list | tuple) or len(value) not in (len(shape), 3) or not _are_integers(value):
        raise _not_a_click(field_name, value)
    point = tuple(value) if len(value) == 3 else (*value, 0)
    sizes = (*shape, 1)[:3]
    if not all(0 <= index < size for index, size in zip(point, sizes, strict=True)):
        reason = f"The click {list(value)} in {field_name} is outside the image, {' x '.join(map(str, sizes))} voxels."
        raise reject("CLICK_OUTSIDE", reason, "Voxel indices start at 0; click inside the image.")
    return point[0], point[1], point[2]


def _not_a_click(field_name: str, value: Any) -> Exception:
    reason = f"{field_name} contains {str(value)[:80]!r}, which is not a click."
    return reject(
        "CLICK_FORMAT", reason, f"Send a click as [{', '.join(AXES)}], integer voxel indices of the stored image."
    )


def _are_integers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, int) and not isinstance(value, bool) for value in values)


def _box(value: Any, shape: Sequence[int]) -> tuple[Voxel, Voxel] | None:
    """Parse a box in Slicer's order; sort its corners and clip them to the image."""
    if value is None or value == []:
        return None
    if not isinstance(value, list | tuple) or len(value) != 6 or not _are_integers(value):
        order = ", ".join(f"{axis}min, {axis}max" for axis in AXES)
        reason = f"roi is {str(value)[:80]!r}, which is not a box."
        raise reject("ROI_FORMAT", reason, f"Send a box as [{order}], integer voxel indices of the stored image.")
    sides = [sorted(value[at : at + 2]) for at in (0, 2, 4)]
    lows = [max(low, 0) for low, _ in sides]
    highs = [min(high, size - 1) for (_, high), size in zip(sides, (*shape, 1)[:3], strict=True)]
    if lows[2] > highs[2] or any(low >= high for low, high in zip(lows[:2], highs[:2], strict=True)):
        reason = f"The roi {list(value)} contains no voxel of the image."
        raise reject("EMPTY_ROI", reason, "Draw a box that spans voxels of the image, or remove it.")
    return (lows[0], lows[1], lows[2]), (highs[0], highs[1], highs[2])


def _slice(value: Any, shape: Sequence[int], marks: Marks) -> int | None:
    """Return the slice to segment: as the client names it, else of the last click, else the middle of the box."""
    if value is not None and not _are_integers([value]):
        remedy = "Send the slice as an integer index along the image's third axis."
        raise reject("SLICE_FORMAT", f"slice is {str(value)[:80]!r}, which is not an integer.", remedy)
    count = (*shape, 1)[2]
    # OHIF sends no slice; other viewers send -1.
    if value is not None and value >= 0:
        if value >= count:
            reason = f"There is no slice {value}; the image has {count} slices."
            raise reject("SLICE_OUTSIDE", reason, "Send a slice index that starts at 0 along the image's third axis.")
        return value
    if clicks := marks.foreground or marks.background:
        return clicks[-1][2]
    return None if marks.box is None else (marks.box[0][2] + marks.box[1][2]) // 2
