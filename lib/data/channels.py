"""Find the further channels of an image, such as other series of an MR examination, and add them to it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from lib.data.files.tables import SpecError, build_dataclass, check_choice
from lib.data.findings import reject
from lib.data.formats import SUFFIXES, Volume, dicom
from lib.data.intensity import PERCENTILE, WINDOW, ZSCORE
from lib.data.listing import is_visible, split_suffix
from lib.data.modality import MODALITIES

ANYTHING = "*"


@dataclass(frozen=True)
class ChannelSpec:
    """One channel of a task's images. The first one of a task is the reference, which annotators see.

    Args:
        name: Name of the channel.
        match: Pattern of its file's name beside the reference, with one ``*`` for what their names have in common; in
            the reference's own pattern ``*`` marks that part, which is otherwise the name of the study. It may begin
            with the name of a folder.
        description: Pattern of its DICOM SeriesDescription, with ``*`` and ``?``; upper and lower case are the same.
        modality: A key of `lib.data.modality.MODALITIES`; empty for that of the task.
        intensity: How its intensities are mapped; empty as in the task.
        window: The two intensities of ``window``; empty as in the task.
        optional: Whether a case may lack it. Training leaves it out of some patches, so that the network can do so too.
    """

    name: str
    match: str = ""
    description: str = ""
    modality: str = ""
    intensity: str = ""
    window: tuple[float, ...] = ()
    optional: bool = False


def build_channels(tables: Any, where: str) -> tuple[ChannelSpec, ...]:
    """Return the channels that a list of TOML tables declares.

    Raises:
        SpecError: If a key or value is not accepted, names repeat, or a further channel does not say how it is found.
    """
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SpecError(f"{where} takes a list of tables: [{{ name = 't1' }}, {{ name = 't2', match = '...' }}]")
    channels = tuple(build_dataclass(ChannelSpec, table, f"{where} {i}") for i, table in enumerate(tables, start=1))
    for index, one in enumerate(channels):
        place = f"{where} '{one.name}'"
        if [other.name for other in channels].count(one.name) > 1:
            raise SpecError(f"{place}: two channels have this name")
        if one.match and one.match.count(ANYTHING) != 1:
            raise SpecError(f"{place} match: '{one.match}' needs one {ANYTHING}, for what the names have in common")
        if one.modality:
            check_choice(one.modality, tuple(MODALITIES), f"{place} modality")
        if one.intensity:
            check_choice(one.intensity, (WINDOW, PERCENTILE, ZSCORE), f"{place} intensity")
        if len(one.window) not in (0, 2) or (one.window and one.window[0] == one.window[1]):
            raise SpecError(f"{place} window takes two different intensities")
        if one.window and one.intensity not in ("", WINDOW):
            raise SpecError(f"{place} window: only intensity = '{WINDOW}' takes a window")
        if index and bool(one.match) == bool(one.description):
            raise SpecError(f"{place} needs match (names of files) or description (DICOM SeriesDescription), not both")
        if not index and one.optional:
            raise SpecError(f"{place}: the first channel is the reference and cannot be optional")
    return channels


def find_channels(image: Path, channels: Sequence[ChannelSpec]) -> tuple[Path | None, ...]:
    """Return the file, or the folder of the DICOM series, of each further channel; None where an optional one lacks.

    Args:
        image: The reference: a file, or the folder of a DICOM series.
        channels: All channels of the task, the reference first.
    Raises:
        InputRejected: CHANNEL_REFERENCE if the image is not what the reference's pattern describes, CHANNEL_MISSING, or
            CHANNEL_AMBIGUOUS if several series have the description.
    """
    if not channels:
        return ()
    reference, *others = channels
    common = _common_part(image, reference)
    if reference.description and not _fits(_facts(_series(image)), reference):
        found = _facts(_series(image)).description
        reason = f"The series is described as '{found}', and this task labels '{reference.description}'."
        raise reject("CHANNEL_REFERENCE", reason, "Choose the series that the task labels.")
    return tuple(_find(image, common, channel) for channel in others)


def further_patterns(channels: Sequence[ChannelSpec]) -> tuple[str, ...]:
    """Return the names, as patterns, of the entries of a folder of studies that hold further channels."""
    return tuple(channel.match.split("/")[0] for channel in channels[1:] if channel.match)


def add_channels(
    volume: Volume, image: Path, channels: Sequence[ChannelSpec], open_image: Callable[[Path, ChannelSpec], Volume]
) -> Volume:
    """Return an image with its further channels on its own voxels.

    Args:
        volume: The reference.
        image: Its file or folder.
        channels: All channels of the task, the reference first.
        open_image: Returns the image of a further channel from its file.
    Raises:
        InputRejected: As `find_channels` and `lib.data.volumes.overlay.overlay`, and as `open_image`.
    """
    from lib.data.volumes.overlay import overlay  # starts scipy

    found = find_channels(image, channels)
    arrays = [
        np.zeros(volume.voxels.shape, np.float32) if path is None else overlay(open_image(path, one), volume, one.name)
        for path, one in zip(found, channels[1:], strict=True)
    ]
    first = len(volume.others) + 1
    missing = frozenset(first + index for index, path in enumerate(found) if path is None)
    return replace(volume, others=(*volume.others, *arrays), missing=missing)


def _common_part(image: Path, reference: ChannelSpec) -> str:
    """Return what the name of the reference has in common with its other channels."""
    if not reference.match:
        return split_suffix(image.name, SUFFIXES)[0] if image.is_file() else image.name
    before, after = reference.match.split(ANYTHING)
    if not fnmatchcase(image.name, reference.match):
        reason = f"The name '{image.name}' is not '{reference.match}', the name of the images that this task labels."
        raise reject("CHANNEL_REFERENCE", reason, "Choose such an image, or correct match in app.toml.")
    return image.name[len(before) : len(image.name) - len(after)]


def _find(image: Path, common: str, channel: ChannelSpec) -> Path | None:
    if channel.match:
        path = image.parent / channel.match.replace(ANYTHING, common)
        found = [path] if path.exists() else []
        wanted = f"no file '{path.relative_to(image.parent)}' beside it"
    else:
        found = _sisters(_series(image), channel)
        wanted = f"no series described as '{channel.description}' in its examination"
    if len(found) > 1:
        names = ", ".join(f"'{_facts(path).description}' in {path.name}" for path in found[:3])
        reason = f"'{image.name}' has {len(found)} series for its channel '{channel.name}': {names}."
        raise reject("CHANNEL_AMBIGUOUS", reason, "Make description in app.toml more exact, or remove one series.")
    if not found and not channel.optional:
        remedy = "Add it, or declare the channel as optional = true in app.toml and train again."
        raise reject("CHANNEL_MISSING", f"The channel '{channel.name}' lacks: '{image.name}' has {wanted}.", remedy)
    return found[0] if found else None


@dataclass(frozen=True)
class _SeriesFacts:
    examination: str = ""
    description: str = ""
    modality: str = ""


def _series(image: Path) -> Path:
    """Return the DICOM slices of an image: itself, or the folder beside a file that was converted from them."""
    folder = image.parent / split_suffix(image.name, SUFFIXES)[0]
    return folder if image.is_file() and folder.is_dir() else image


def _sisters(series: Path, channel: ChannelSpec) -> list[Path]:
    own = _facts(series)
    if not own.examination:
        return []
    others = [path for path in sorted(series.parent.iterdir()) if path != series and is_visible(path.name)]
    dicoms = [path for path in others if path.is_dir() or dicom.is_dicom(path)]
    return [path for path in dicoms if _facts(path).examination == own.examination and _fits(_facts(path), channel)]


def _fits(facts: _SeriesFacts, channel: ChannelSpec) -> bool:
    return describes(channel, facts.description, facts.modality)


def describes(channel: ChannelSpec, description: str, modality: str) -> bool:
    """Return whether a channel is a DICOM series with a description and a modality."""
    accepted = MODALITIES[channel.modality] if channel.modality else ()
    named = fnmatchcase(description.casefold().strip(), channel.description.casefold())
    return named and (not accepted or modality in accepted)


def _facts(path: Path) -> _SeriesFacts:
    return _read_facts(path, path.stat().st_mtime_ns) if path.exists() else _SeriesFacts()


@lru_cache(maxsize=4096)
def _read_facts(path: Path, changed: int) -> _SeriesFacts:
    """Return the facts of a DICOM file or of the first one of a folder; cached until it changes."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    first = next((file for file in files if file.is_file() and dicom.is_dicom(file)), None)
    keys = ("StudyInstanceUID", "SeriesDescription", "Modality")
    try:
        tags = None if first is None else pydicom.dcmread(first, stop_before_pixels=True, specific_tags=list(keys))
        return _SeriesFacts() if tags is None else _SeriesFacts(*(str(tags.get(key) or "") for key in keys))
    except Exception:  # pydicom raises many kinds of exceptions for a damaged file
        return _SeriesFacts()
