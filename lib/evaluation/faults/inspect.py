"""Run all checks of one label within a time limit."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from lib.data.modality import CT
from lib.evaluation.faults.breaks import find_breaks
from lib.evaluation.faults.content import find_contradictions
from lib.evaluation.faults.counts import find_miscounts
from lib.evaluation.faults.expected import Expected
from lib.evaluation.faults.fault import NOTE, REMEDIES, WARNING, Fault
from lib.evaluation.faults.holes import find_holes
from lib.evaluation.faults.outside import find_outside_body
from lib.evaluation.faults.scene import Scene

logger = logging.getLogger(__name__)

MAX_PER_CODE = 10
"""Findings listed for each code; one further finding gives the number of the others."""


def inspect_label(
    label: npt.NDArray[np.uint8],
    image: npt.NDArray,
    affine: npt.NDArray[np.floating],
    *,
    modality: str = CT,
    values: Mapping[str, int],
    expected: Sequence[Expected] = (),
    seconds: float = np.inf,
) -> list[Fault]:
    """Return the findings about a label: the places that a reviewer should look at.

    Args:
        label: Label values, ``(X, Y, Z)`` in the file's order of axes, 0 background, 255 ignored.
        image: Intensities on the same grid.
        affine: ``(4, 4)``, voxel of the file to RAS mm.
        modality: What the image is. The check for voxels outside the body needs Hounsfield units and runs on CT only.
        values: Value of each label by name.
        expected: Largest Betti numbers.
        seconds: Time limit. No check begins after it; a finding names the first check that was left out.
    Returns:
        The findings, at most `MAX_PER_CODE` with a place for each code.
    """
    begin = time.monotonic()
    scene = Scene.crop(label, image, values, affine)
    if scene is None or not scene.union.any():
        return [_without_place("EMPTY", "Nothing is labelled.", WARNING)]
    found: list[Fault] = []
    for name, check in _checks(scene, image if modality == CT else None, expected, found):
        if time.monotonic() - begin > seconds:
            found.append(
                not_checked(
                    f"The time limit was reached before the check of {name}; this check and later ones did not run."
                )
            )
            break
        try:
            found += check()
        except Exception:  # a failed check must not stop the others
            logger.exception("label check failed: %s", name)
            found.append(not_checked(f"The check of {name} failed; the server log has the cause."))
    return list(_shortened(found))


def not_checked(reason: str) -> Fault:
    """Return the finding that a check did not run or failed."""
    return _without_place("NOT_CHECKED", reason, NOTE)


def _checks(
    scene: Scene, image: npt.NDArray | None, expected: Sequence[Expected], found: Sequence[Fault]
) -> Iterator[tuple[str, Callable[[], Iterable[Fault]]]]:
    yield "breaks", lambda: find_breaks(scene)
    yield "leaks, loops and spurs", lambda: find_contradictions(scene)
    yield "holes", lambda: find_holes(scene)
    for limits in expected:
        yield f"the Betti numbers of {limits.name}", lambda limits=limits: find_miscounts(scene, limits, tuple(found))
    if image is not None:
        yield "voxels outside the body", lambda: find_outside_body(scene, image)


def _shortened(found: Sequence[Fault]) -> Iterator[Fault]:
    for code in dict.fromkeys(fault.code for fault in found):
        same_code = [fault for fault in found if fault.code == code]
        yield from islice(same_code, MAX_PER_CODE)
        if len(same_code) > MAX_PER_CODE:
            yield _without_place(code, f"{len(same_code) - MAX_PER_CODE} more findings of this kind.", WARNING)


def _without_place(code: str, reason: str, severity: str) -> Fault:
    return Fault(code=code, reason=reason, remedy=REMEDIES[code], severity=severity)
