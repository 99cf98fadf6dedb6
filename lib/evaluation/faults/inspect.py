"""All checks of one label, within a time."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from lib.evaluation.faults.breaks import breaks
from lib.evaluation.faults.content import contradicted
from lib.evaluation.faults.counts import miscounted
from lib.evaluation.faults.expected import Expected
from lib.evaluation.faults.fault import NOTE, REMEDIES, WARNING, Fault
from lib.evaluation.faults.holes import holes
from lib.evaluation.faults.outside import outside_body
from lib.evaluation.faults.scene import Scene

logger = logging.getLogger(__name__)

MOST_OF_A_KIND = 10
"""Findings with one code; the rest is told as a number."""


def inspect_label(
    label: npt.NDArray[np.uint8],
    image: npt.NDArray,
    affine: npt.NDArray[np.floating],
    *,
    values: Mapping[str, int],
    expected: Sequence[Expected] = (),
    seconds: float = np.inf,
) -> list[Fault]:
    """Return what a person should look at, with where it is.

    Args:
        label: Label values, ``(X, Y, Z)`` in the file's order of axes, 0 background, 255 not known.
        image: Intensities on the same grid; Hounsfield units for what lies outside the body.
        affine: ``(4, 4)``, voxel of the file to RAS mm.
        values: Value of each label by name.
        expected: Betti numbers at most.
        seconds: After which no further check begins; what was not looked at is a finding then.
    """
    begin = time.monotonic()
    scene = Scene.around(label, image, values, affine)
    if scene is None or not scene.union.any():
        return [_plain("EMPTY", "Nothing is labelled.", WARNING)]
    found: list[Fault] = []
    for name, check in _checks(scene, image, expected, found):
        if time.monotonic() - begin > seconds:
            found.append(not_checked(f"The time for checks was over before {name}."))
            break
        try:
            found += check()
        except Exception:  # whatever one check stumbles on, the others go on
            logger.exception("the check of %s failed", name)
            found.append(not_checked(f"The check of {name} failed; the log says why."))
    return list(_shortened(found))


def not_checked(reason: str) -> Fault:
    """Return the finding that something was not looked at."""
    return _plain("NOT_CHECKED", reason, NOTE)


def _checks(
    scene: Scene, image: npt.NDArray, expected: Sequence[Expected], found: Sequence[Fault]
) -> Iterator[tuple[str, Callable[[], Iterable[Fault]]]]:
    yield "breaks", lambda: breaks(scene)
    yield "leaks, loops and spurs", lambda: contradicted(scene)
    yield "holes", lambda: holes(scene)
    for each in expected:
        yield f"the numbers of {each.name}", lambda each=each: miscounted(scene, each, tuple(found))
    yield "what lies outside the body", lambda: outside_body(scene, image)


def _shortened(found: Sequence[Fault]) -> Iterator[Fault]:
    for code in dict.fromkeys(fault.code for fault in found):
        alike = [fault for fault in found if fault.code == code]
        yield from islice(alike, MOST_OF_A_KIND)
        if len(alike) > MOST_OF_A_KIND:
            yield _plain(code, f"{len(alike) - MOST_OF_A_KIND} more of these.", WARNING)


def _plain(code: str, reason: str, severity: str) -> Fault:
    return Fault(code=code, reason=reason, remedy=REMEDIES[code], severity=severity)
