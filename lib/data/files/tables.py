"""Read TOML tables into frozen dataclasses; keys, types and choices are checked."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin, get_type_hints


class SpecError(ValueError):
    """Raised for a TOML file with a key or value that is not accepted; the message names the place and the choices."""


def build_dataclass(cls: type, block: Mapping[str, Any], where: str, **parts: Any) -> Any:
    """Return an instance of a dataclass from a table, with keys and types checked against its fields.

    Args:
        cls: The dataclass.
        block: The table.
        where: Place of the table in its file, for messages.
        parts: Values of fields that were read elsewhere.
    Raises:
        SpecError: If a key is unknown or missing, or a value has the wrong type.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    check_keys(block, fields.keys(), where)
    absent = dataclasses.MISSING
    needed = {n for n, f in fields.items() if f.default is absent and f.default_factory is absent}
    if missing := sorted(needed - block.keys() - parts.keys()):
        raise SpecError(f"{where} needs {join_words(missing)}")
    hints = get_type_hints(cls)
    return cls(**{n: convert_value(v, hints[n], f"{where} {n}") for n, v in block.items()}, **parts)


def convert_value(value: Any, hint: Any, where: str) -> Any:
    """Return a value as a field of the type `hint` stores it: a list as a tuple, an integer as a float if needed."""
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if not isinstance(value, list) or (inner[-1] is not Ellipsis and len(value) != len(inner)):
            size = "a list" if inner[-1] is Ellipsis else f"a list of {len(inner)}"
            raise SpecError(f"{where} takes {size}, got {value!r}")
        return tuple(convert_value(item, inner[0], where) for item in value)
    if type(None) in get_args(hint):
        hint = next(option for option in get_args(hint) if option is not type(None))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise SpecError(f"{where} takes {hint.__name__}, got {value!r}")
    return value


def as_table(value: Any, where: str) -> Mapping[str, Any]:
    """Return the value if it is a table."""
    if not isinstance(value, Mapping):
        raise SpecError(f"{where} takes a table, got {value!r}")
    return value


def check_keys(block: Mapping[str, Any], known: Any, where: str) -> None:
    """Raise if the table has a key that is not in `known`."""
    if unknown := sorted(set(block) - set(known)):
        raise SpecError(f"{where} has no key {join_words(unknown)}; the keys are {join_words(sorted(known))}")


def check_choice(value: Any, known: tuple[str, ...], where: str) -> None:
    """Raise if the value is not in `known`."""
    if value not in known:
        raise SpecError(f"{where} is {value!r}; the choices are {join_words(known)}")


def join_words(words: Iterable[str]) -> str:
    """Return words as a comma-separated list for a message."""
    return ", ".join(words)
