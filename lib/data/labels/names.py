"""Map the values of a label file to the values of an app's labels, by the names that a header or a client gives."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from lib.data.findings import InputRejected, reject
from lib.data.labels.slicer_segments import Segment
from lib.data.labels.values import IGNORE

_BACKGROUND = "background"
_SEND = 'Send label_info as [{"name": NAME, "idx": VALUE}, ...], with one entry for each value of the file.'
_SHOWN = 80


@dataclass(frozen=True)
class NamedValue:
    """A name that a client gives; `value` is its value in the file, None if the client sent names only."""

    name: str
    value: int | None


def parse_label_info(sent: Any) -> list[NamedValue]:
    """Return the names in a client's ``label_info``, in their order; an empty value gives none.

    Accepted are a list of names, a list of ``{"name": ..., "idx": ...}`` (``idx`` may be missing, a whole float, or a
    number as text), a dict from names to values or from values to names, and the JSON text of one of these.

    Raises:
        InputRejected: LABEL_NAMES, with the entry that cannot be read.
    """
    if isinstance(sent, str):
        try:
            sent = json.loads(sent) if sent.strip() else None
        except (ValueError, RecursionError):
            _refuse_entry(sent)
    if sent in (None, "", [], {}):
        return []
    if isinstance(sent, dict):
        return [_read_entry(sent)] if "name" in sent and "idx" in sent else [_read_pair(*pair) for pair in sent.items()]
    if not isinstance(sent, list):
        _refuse_entry(sent)
    return [_read_entry(entry) for entry in sent]


def _read_entry(entry: Any) -> NamedValue:
    if isinstance(entry, str) and entry.strip():
        return NamedValue(entry.strip(), None)
    if not isinstance(entry, dict) or not isinstance(name := entry.get("name"), str) or not name.strip():
        _refuse_entry(entry)
    index = entry.get("idx")
    value = None if index is None else _whole(index)
    if index is not None and value is None:
        _refuse_entry(entry)
    return NamedValue(name.strip(), value)


def _read_pair(key: str, other: Any) -> NamedValue:
    """Read an entry of a dict: the one side that is a whole number is the value."""
    value, index = _whole(other), _whole(key)
    if value is not None and index is None and key.strip():
        return NamedValue(key.strip(), value)
    if value is None and index is not None and isinstance(other, str) and other.strip():
        return NamedValue(other.strip(), index)
    _refuse_entry({key: other})


def _whole(number: Any) -> int | None:
    """Return a whole number from 0 that a client sent as int, float or text; None for any other value."""
    if isinstance(number, str) and re.fullmatch(r"\s*\d{1,9}(\.0*)?\s*", number):
        number = float(number)
    if isinstance(number, bool) or not isinstance(number, int | float) or number < 0 or number != number // 1:
        return None
    return int(number)


def _refuse_entry(entry: Any) -> NoReturn:
    raise reject("LABEL_NAMES", f"label_info holds {str(entry)[:_SHOWN]!r}, which gives no value a name.", _SEND)


def find_value(names: Iterable[str], values: Mapping[str, int]) -> int | None:
    """Return the app's value of a segment; None if no name of it is a label of the app.

    Upper and lower case, spaces, hyphens and underscores count as the same. "ignore" is `IGNORE`.

    Args:
        names: Names of the segment; empty ones are left out.
        values: The app's value of each label.
    Raises:
        InputRejected: LABEL_NAMES if two names of the segment are different labels of the app.
    """
    known = {plain_name("ignore"): IGNORE} | {plain_name(name): value for name, value in values.items()}
    found = {name: value for name in names if (value := values.get(name, known.get(plain_name(name)))) is not None}
    if len(set(found.values())) > 1:
        first, second = list(found)[:2]
        reason = f"A segment has the name '{first}' and the terminology '{second}', which are two labels of the app."
        raise reject("LABEL_NAMES", reason, "Correct the name or the terminology of the segment.")
    return next(iter(found.values()), None)


def plain_name(name: str) -> str:
    """Return a name in which case, blanks, hyphens and underscores do not matter."""
    return re.sub(r"[\s_-]+", "_", name.strip()).casefold()


def map_segments(segments: Sequence[Segment], present: Mapping[int, int], values: Mapping[str, int]) -> dict[int, int]:
    """Return the app's value of each value of one layer, by the segments that a header names.

    The terminology of a segment counts only if its name was made from it: people rename segments and leave it.

    Args:
        segments: The segments of the layer.
        present: Number of voxels of each value of the layer.
        values: The app's value of each label.
    Raises:
        InputRejected: LABEL_NAMES if a value has no segment, or a segment with voxels is no label of the app.
    """
    by_value = {segment.value: segment for segment in segments}
    table, unknown = _unnamed(present, by_value, "the header"), []
    for value, segment in by_value.items():
        if value in present:
            known = find_value((segment.name, segment.terminology), values)
            if known is None or not (segment.is_named_by_terminology or find_value([segment.name], values)):
                unknown.append(segment.name)
            table[value] = known or 0
    if unknown:
        raise refuse_names(unknown, values)
    return table


def map_label_info(
    named: Sequence[NamedValue], present: Mapping[int, int], values: Mapping[str, int]
) -> dict[int, int]:
    """Return the app's value of each value of a file, by the names that a client sent.

    Names without values are read in the two ways that clients mean them: as names of the values 1, 2, ... in this
    order, or as a list of the app's labels in the file. Both are accepted if only one of them fits, or they agree.

    Args:
        named: The names; see `parse_label_info`.
        present: Number of voxels of each value of the file.
        values: The app's value of each label.
    Raises:
        InputRejected: LABEL_NAMES if names are missing, unknown, contradictory or ambiguous.
    """
    if any(entry.value is None for entry in named):
        named = _number(named, present, values)
    by_value: dict[int, list[str]] = {}
    for entry in named:
        assert entry.value is not None, "names without values were numbered"
        by_value.setdefault(entry.value, []).append(entry.name)
    if wrong := [name for name in by_value.get(0, ()) if plain_name(name) != _BACKGROUND]:
        raise reject("LABEL_NAMES", f"label_info names the background, value 0, '{wrong[0][:_SHOWN]}'.", _SEND)
    table = _unnamed(present, by_value, "label_info")
    unknown: list[str] = []
    for value in sorted(present.keys() & by_value.keys() - {0}):
        found = {name: find_value([name], values) for name in by_value[value]}
        unknown += [name for name, known in found.items() if known is None]
        if len(set(found.values())) > 1:
            reason = f"label_info gives the value {value} the names {_list(found)}."
            raise reject("LABEL_NAMES", reason, _SEND)
        table[value] = next(iter(found.values())) or 0
    if unknown:
        raise refuse_names(unknown, values)
    check_named_once([table], values)
    return table


def check_named_once(tables: Iterable[Mapping[int, int]], values: Mapping[str, int]) -> None:
    """Refuse a file in which two values, or values of two layers, have the same name.

    Args:
        tables: For each layer, the app's value of each value that has voxels.
        values: The app's value of each label.
    Raises:
        InputRejected: LABEL_NAMES.
    """
    found = [known for table in tables for known in table.values()]
    for name, value in values.items():
        if (count := found.count(value)) > 1:
            reason = f"{count} segments of the label have the same name '{name}'."
            raise reject("LABEL_NAMES", reason, "Rename all but one, or merge them into one segment.")


def check_label_info(
    named: Sequence[NamedValue], table: Mapping[int, int] | None, found: Iterable[int], values: Mapping[str, int]
) -> None:
    """Refuse names of a client that contradict the names in the header of the file.

    Args:
        named: The names; see `parse_label_info`.
        table: The app's value of each value of the file by its header; None if the file has several layers.
        found: The app's values in the file.
        values: The app's value of each label.
    Raises:
        InputRejected: LABEL_NAMES.
    """
    sent = {find_value([entry.name], values) for entry in named}
    by_number = {entry.value: entry.name for entry in named} if table is not None else {}
    names = {value: name for name, value in values.items()}
    for value in set(found) - {0, IGNORE}:
        if named and value not in sent:
            reason = f"The header names a segment '{names[value]}', which label_info does not name."
            raise reject("LABEL_NAMES", reason, "Send the names of the header, or no label_info.")
    for value, known in (table or {}).items():
        name = by_number.get(value)
        if value and name is not None and find_value([name], values) != known:
            reason = f"The header names the value {value} '{names.get(known, 'ignore')}', label_info '{name[:_SHOWN]}'."
            raise reject("LABEL_NAMES", reason, "Send the names of the header, or no label_info.")


def describe_values(sent: Any, values: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return ``label_info`` for a file with the app's values; other facts that a client sent by name are kept.

    Args:
        sent: The client's ``label_info``.
        values: The app's value of each label.
    """
    entries = [entry for entry in sent if isinstance(entry, dict)] if isinstance(sent, list) else []
    known = {find_value([str(entry.get("name"))], values): entry for entry in entries}
    return [{**known.get(value, {}), "name": name, "idx": value} for name, value in values.items()]


def refuse_names(unknown: Sequence[str], values: Mapping[str, int]) -> InputRejected:
    """Return the refusal of segments that are no labels of the app."""
    some = "The segment" if len(unknown) == 1 else "The segments"
    reason = f"{some} {_list(unknown)} {'is no label' if len(unknown) == 1 else 'are no labels'} of this app."
    return reject("LABEL_NAMES", reason, f"Rename to one of: {', '.join(values)}; or remove them.")


def refuse_overlap(one: str, other: str, count: int, first: str) -> InputRejected:
    """Return the refusal of two segments that share `count` voxels; `first` says where."""
    reason = f"The segments '{one}' and '{other}' share {count:,} voxels, the first at {first}."
    return reject("LABEL_OVERLAP", reason, "Give each voxel to one segment, then submit the label again.")


def _unnamed(present: Mapping[int, int], named: Mapping[int, Any], source: str) -> dict[int, int]:
    """Return the values that need no name; refuse others that `source` gives no name."""
    for value, count in present.items():
        if value not in named and value not in (0, IGNORE):
            reason = f"The value {value} ({count:,} voxels) has no name in {source}."
            raise reject(
                "LABEL_NAMES", reason, "Give each value of the file the name of a label, or remove its voxels."
            )
    return {value: value for value in (0, IGNORE) if value in present}


def _number(named: Sequence[NamedValue], present: Mapping[int, int], values: Mapping[str, int]) -> list[NamedValue]:
    """Return names with their values, if the values of the file leave only one way to read them."""
    if any(entry.value is not None for entry in named):
        raise reject("LABEL_NAMES", "Some entries of label_info have an idx, and others have none.", _SEND)
    names = [entry.name for entry in named]
    first = 0 if plain_name(names[0]) == _BACKGROUND else 1
    by_order = dict(enumerate(names, start=first))
    by_label = {value: name for name in names if (value := find_value([name], values)) is not None}
    found = present.keys() - {0, IGNORE}
    readings = [reading for reading in (by_order, by_label) if found <= reading.keys()]
    meanings = {tuple(find_value([reading[value]], values) for value in sorted(found)) for reading in readings}
    if len(meanings) != 1:
        fault = "could be the names of several values" if readings else "do not fit the values of the file"
        reason = f"The names {_list(names)} without values {fault}: the file has the values {_list(sorted(found))}."
        raise reject("LABEL_NAMES", reason, _SEND)
    return [NamedValue(name, value) for value, name in readings[0].items()]


def _list(items: Iterable[Any]) -> str:
    shown = [f"'{item[:_SHOWN]}'" if isinstance(item, str) else str(item) for item in items]
    return ", ".join(shown[:12]) + (" ..." if len(shown) > 12 else "")
