"""What viewers send with a click, read into clicks per label or refused with a code, a reason and a remedy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from lib.data.findings import reject

Voxel = tuple[int, int, int]
AXES = "ijk"
FOREGROUND, BACKGROUND = "foreground", "background"


@dataclass(frozen=True)
class Marks:
    """What a person marked for one label, in voxel indices of the stored image.

    Args:
        foreground: On it.
        background: Beside it.
        box: First and last voxel of a box around it, both within.
    """

    foreground: tuple[Voxel, ...] = ()
    background: tuple[Voxel, ...] = ()
    box: tuple[Voxel, Voxel] | None = None

    def on(self, slice_index: int) -> "Marks":
        """Return what of the clicks lies on a slice; the box stays."""
        here = [tuple(p for p in points if p[2] == slice_index) for points in (self.foreground, self.background)]
        return replace(self, foreground=here[0], background=here[1])


@dataclass(frozen=True)
class Asked:
    """A request.

    Args:
        marks: By label, those alone of which something is marked.
        slice_index: The one slice that is asked for; None for all.
        label: The label that the client names, empty where it names none.
    """

    marks: Mapping[str, Marks] = field(default_factory=dict)
    slice_index: int | None = None
    label: str = ""


def asked_for_one(
    request: Mapping[str, Any],
    shape: Sequence[int],
    name: str,
    known: Sequence[str],
    *,
    one_slice: bool,
    mending: bool = False,
) -> Asked:
    """Return a request for one thing (MONAI Label's deepgrow).

    Args:
        request: ``foreground`` and ``background`` are lists of ``[i, j, k]``; ``roi`` is a box, ``label`` the segment
            that the viewer draws into, ``slice`` the slice it shows.
        shape: The image's, ``(X, Y)`` or ``(X, Y, Z)``.
        name: What is drawn.
        known: Labels that the client may name.
        one_slice: Whether one slice is asked for: the one that the client names, else that of the last click.
        mending: Whether there is a mask already, which clicks beside it can mend.
    Raises:
        InputRejected: CLICK_FORMAT, CLICK_OUTSIDE, NO_CLICKS, UNKNOWN_LABEL, ROI_FORMAT, EMPTY_ROI, SLICE_FORMAT or
            SLICE_OUTSIDE.
    """
    label = _label(request, (name, *known))
    foreground, background = (_points(request.get(key), shape, key) for key in (FOREGROUND, BACKGROUND))
    marks = Marks(foreground, background, _box(request.get("roi"), shape))
    index = _slice(request.get("slice"), shape, marks) if one_slice else None
    if index is not None:
        marks = marks.on(index)
    if not marks.foreground and marks.box is None and not (mending and marks.background):
        where = f" on slice {index}" if index is not None else ""
        raise reject("NO_CLICKS", f"Nothing marks the object{where}.", "Click on it, or draw a box around it.")
    return Asked({name: marks}, index, label)


def asked_for_labels(
    request: Mapping[str, Any], shape: Sequence[int], labels: Sequence[str], *, mending: bool = False
) -> Asked:
    """Return a request for several labels (MONAI Label's deepedit).

    A click on one label is a click beside all the others.

    Args:
        request: A list of ``[i, j, k]`` per label's name, and ``background``; ``roi`` is a box around the ``label``.
            ``foreground`` is what Slicer clicked for that ``label``.
        shape: The image's.
        labels: The task's.
        mending: Whether there is a mask already.
    Raises:
        InputRejected: As `asked_for_one`.
    """
    label = _label(request, labels)
    _no_others(request, labels)
    points = {name: _points(request.get(name), shape, name) for name in labels}
    more, box = _points(request.get(FOREGROUND), shape, FOREGROUND), _box(request.get("roi"), shape)
    if (more or box) and not label:
        raise reject("UNKNOWN_LABEL", "foreground and roi name no label.", "Send its name as `label`.")
    if label:
        points[label] += more
    nowhere = _points(request.get(BACKGROUND), shape, BACKGROUND)
    beside = {name: sum((points[other] for other in labels if other != name), nowhere) for name in labels}
    marks = {name: Marks(points[name], beside[name], box if name == label else None) for name in labels}
    marked = {name: each for name, each in marks.items() if each.foreground or each.box}
    if not marked and not (mending and nowhere):
        raise reject("NO_CLICKS", "No label has a click.", f"Click on one of {', '.join(labels)}.")
    return Asked(marks if mending else marked, None, label)


def _label(request: Mapping[str, Any], known: Sequence[str]) -> str:
    label = request.get("label") or ""
    if label and label not in known:
        raise _unknown(str(label), known)
    return label


def _no_others(request: Mapping[str, Any], labels: Sequence[str]) -> None:
    """Refuse clicks on what is no label; viewers send empty lists for what they know and this task does not."""
    for key, value in request.items():
        clicks = isinstance(value, list) and value and all(isinstance(each, list) for each in value)
        if clicks and key not in (FOREGROUND, BACKGROUND, *labels):
            raise _unknown(key, labels)


def _unknown(label: str, known: Sequence[str]) -> Exception:
    reason = f"There is no label {label[:80]!r} here."
    return reject("UNKNOWN_LABEL", reason, f"The labels are {', '.join(known)}.")


def _points(value: Any, shape: Sequence[int], what: str) -> tuple[Voxel, ...]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise _not_a_click(what, value)
    return tuple(_point(each, shape, what) for each in value)


def _point(value: Any, shape: Sequence[int], what: str) -> Voxel:
    if not isinstance(value, list | tuple) or len(value) not in (len(shape), 3) or not _integers(value):
        raise _not_a_click(what, value)
    point = tuple(value) if len(value) == 3 else (*value, 0)
    sizes = (*shape, 1)[:3]
    if not all(0 <= at < size for at, size in zip(point, sizes, strict=True)):
        reason = f"The click {list(value)} in {what} lies outside the image, {' x '.join(map(str, sizes))} voxels."
        raise reject("CLICK_OUTSIDE", reason, "Voxel indices begin with 0; click inside the image.")
    return point[0], point[1], point[2]


def _not_a_click(what: str, value: Any) -> Exception:
    reason = f"{what} holds {str(value)[:80]!r}, which is no click."
    return reject("CLICK_FORMAT", reason, f"A click is [{', '.join(AXES)}], integer voxel indices of the stored image.")


def _integers(values: Sequence[Any]) -> bool:
    return all(isinstance(each, int) and not isinstance(each, bool) for each in values)


def _box(value: Any, shape: Sequence[int]) -> tuple[Voxel, Voxel] | None:
    """Return a box in Slicer's order, its corners sorted and brought into the image."""
    if value is None or value == []:
        return None
    if not isinstance(value, list | tuple) or len(value) != 6 or not _integers(value):
        order = ", ".join(f"{axis}min, {axis}max" for axis in AXES)
        reason = f"roi is {str(value)[:80]!r}, which is no box."
        raise reject("ROI_FORMAT", reason, f"A box is [{order}], integer voxel indices of the stored image.")
    sides = [sorted(value[at : at + 2]) for at in (0, 2, 4)]
    lows = [max(low, 0) for low, _ in sides]
    highs = [min(high, size - 1) for (_, high), size in zip(sides, (*shape, 1)[:3], strict=True)]
    if lows[2] > highs[2] or any(low >= high for low, high in zip(lows[:2], highs[:2], strict=True)):
        reason = f"The roi {list(value)} holds nothing of the image."
        raise reject("EMPTY_ROI", reason, "Draw a box that spans voxels of the image, or remove it.")
    return (lows[0], lows[1], lows[2]), (highs[0], highs[1], highs[2])


def _slice(value: Any, shape: Sequence[int], marks: Marks) -> int | None:
    """Return the slice that is asked for: as the client names it, else the last click's, else the box's middle one."""
    if value is not None and not _integers([value]):
        remedy = "A slice is an integer index along the image's third axis."
        raise reject("SLICE_FORMAT", f"slice is {str(value)[:80]!r}.", remedy)
    count = (*shape, 1)[2]
    # OHIF names none, and others say so with -1.
    if value is not None and value >= 0:
        if value >= count:
            reason = f"There is no slice {value}; the image has {count}."
            raise reject("SLICE_OUTSIDE", reason, "Slices are counted from 0 along the image's third axis.")
        return value
    if clicks := marks.foreground or marks.background:
        return clicks[-1][2]
    return None if marks.box is None else (marks.box[0][2] + marks.box[1][2]) // 2
