"""Read cases once, and map their arrays from files afterwards, so that a data set may exceed the memory."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from lib.data.cases import Case
from lib.data.channels import find_channels
from lib.data.files.atomic import replacing
from lib.data.intensity import Scale
from lib.data.pipeline import IGNORE, ImageSpec, Reading, read

logger = logging.getLogger(__name__)

CACHE_VERSION = 2
"""Increase this number when the reading changes, so that old cache files are not used."""
STEPS_IN_RANGE = 1000.0
"""Least number of integers in the usual range of a channel for which intensities are rounded to integers."""


@dataclass(frozen=True, eq=False)
class CaseArrays:
    """Arrays of one case, slices first.

    Args:
        image: Stored intensities ``(Z, C, X, Y)``: int16 if rounding loses less than a thousandth of the usual range,
            as in a CT, else float32.
        label: uint8 ``(Z, X, Y)``; 255 everywhere if there is no label.
        scales: Maps of the channels to the range of the network.
        optional: Whether the case may have no label.
    """

    image: np.ndarray
    label: np.ndarray
    scales: tuple[Scale, ...]
    optional: bool


class CaseCache:
    """The arrays of cases, in a folder that runs and processes share.

    Each case has two files of arrays, named by the content of its files and by everything in the task that changes how
    they are read, and a third one that is written last.

    Args:
        folder: The folder; None reads every case into memory.
        spec: Grid and intensities of the task.
    """

    def __init__(self, folder: Path | None, spec: ImageSpec) -> None:
        self.folder, self.spec = folder, spec
        self._bytes: dict[str, int] = {}

    def load(self, case: Reading | Case, *, optional: bool) -> CaseArrays:
        """Return the arrays of a case, mapped from the cache if there is one. Changes of them are not written.

        Args:
            case: A case, or a reading, which is not cached.
            optional: Whether the case may have no label.
        Raises:
            ValueError: If the case has no label and needs one.
        """
        if isinstance(case, Reading):
            return _arrays(case, optional)
        if case.label is None and not optional:
            raise ValueError(f"'{case.id}' has no label: label the case or leave it out of the training cases")
        if self.folder is None:
            return _arrays(read(case.image, self.spec, case.label), optional)
        labels = [] if case.label is None else [case.label]
        key = image_key(case.image, self.spec, CACHE_VERSION, *self._facts(), labels=labels)
        image, label, scales = (self.folder / f"{key}.{part}.npy" for part in ("image", "label", "scales"))
        if not scales.exists():
            arrays = _arrays(read(case.image, self.spec, case.label), optional)
            table = np.array([[s.low, s.high, s.standardised, s.missing] for s in arrays.scales])
            for path, array in ((image, arrays.image), (label, arrays.label), (scales, table)):
                with replacing(path) as temporary, temporary.open("wb") as file:
                    np.save(file, array)
        self._bytes[key] = image.stat().st_size + label.stat().st_size
        rows = np.load(scales).tolist()
        # Files of earlier versions have no fourth column.
        found = tuple(Scale(low, high, *map(bool, flags)) for low, high, *flags in rows)
        # Copy-on-write mode, because torch takes no array that cannot be written.
        return CaseArrays(np.load(image, mmap_mode="c"), np.load(label, mmap_mode="c"), found, optional)

    def report(self) -> None:
        """Log the size of the files that this run uses."""
        if self._bytes:
            size = sum(self._bytes.values()) / 2**30
            logger.info("the arrays of %d cases take %.2f GiB in %s", len(self._bytes), size, self.folder)

    def _facts(self) -> tuple[object, ...]:
        spec = self.spec
        spacing, window = (tuple(map(float, values)) for values in (spec.spacing_mm, spec.window))
        channels = (spec.channels,) if spec.channels else ()
        return spacing, window, spec.intensity, spec.modality, spec.crop_margin_mm, *channels


def image_key(image: Path, spec: ImageSpec, *facts: object, labels: Sequence[Path] = ()) -> str:
    """Return a file name for data that are computed from an image with its channels; see `content_key`.

    Args:
        image: The reference of the image.
        spec: Says which channels it has.
        facts: Other facts that the data depend on.
        labels: Further files that the data depend on.
    """
    others = find_channels(image, spec.channels)
    lacking = tuple(index for index, path in enumerate(others) if path is None)
    return content_key([image, *filter(None, others), *labels], *facts, *((lacking,) if lacking else ()))


def content_key(paths: Sequence[Path], *facts: object) -> str:
    """Return a file name for data that are computed from files: a hash of their content and of other facts.

    Args:
        paths: Files, or folders of one DICOM series each.
        facts: Objects with a stable `repr` that the data depend on, such as a grid.
    Returns:
        32 hexadecimal digits.
    """
    digest = sha256(repr(facts).encode())
    for path in paths:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            digest.update(sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:32]


def _arrays(reading: Reading, optional: bool) -> CaseArrays:
    label = reading.label
    if label is None:
        if not optional:
            raise ValueError("a case without a label cannot be trained on: read it with its label file")
        label = torch.full(reading.intensities.shape[1:], IGNORE, dtype=torch.uint8)
    image = reading.intensities.permute(3, 0, 1, 2)
    if _may_be_rounded(reading):
        image = image.round().to(torch.int16)
    return CaseArrays(image.contiguous().numpy(), label.permute(2, 0, 1).contiguous().numpy(), reading.scales, optional)


def _may_be_rounded(reading: Reading) -> bool:
    fine = all(abs(scale.high - scale.low) >= STEPS_IN_RANGE for scale in reading.scales)
    low, high = reading.intensities.aminmax()
    return fine and float(low) >= -32768 and float(high) <= 32767
