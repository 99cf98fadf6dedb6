"""Tables of a TOML file into frozen dataclasses: every key and type checked, and what there is told."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_origin, get_type_hints


class SpecError(ValueError):
    """Raised for a file that declares what cannot be, with the place and what is allowed there."""


def build(cls: type, block: Mapping[str, Any], where: str, **parts: Any) -> Any:
    """Return `cls` from a table and from parts that were read apart, its field types held against the values."""
    fields = {field.name: field for field in dataclasses.fields(cls)}
    only(block, fields.keys(), where)
    absent = dataclasses.MISSING
    needed = {n for n, f in fields.items() if f.default is absent and f.default_factory is absent}
    if missing := sorted(needed - block.keys() - parts.keys()):
        raise SpecError(f"{where} needs {listed(missing)}")
    hints = get_type_hints(cls)
    return cls(**{n: typed(v, hints[n], f"{where} {n}") for n, v in block.items()}, **parts)


def typed(value: Any, hint: Any, where: str) -> Any:
    """Return a value as a field of that type holds it: a list as a tuple, a whole number as a float."""
    if get_origin(hint) is tuple:
        inner = get_args(hint)
        if not isinstance(value, list) or (inner[-1] is not Ellipsis and len(value) != len(inner)):
            size = "a list" if inner[-1] is Ellipsis else f"a list of {len(inner)}"
            raise SpecError(f"{where} takes {size}, got {value!r}")
        return tuple(typed(item, inner[0], where) for item in value)
    if type(None) in get_args(hint):
        hint = next(each for each in get_args(hint) if each is not type(None))
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise SpecError(f"{where} takes {hint.__name__}, got {value!r}")
    return value


def mapping(value: Any, where: str) -> Mapping[str, Any]:
    """Return a value that is a table."""
    if not isinstance(value, Mapping):
        raise SpecError(f"{where} takes a table, got {value!r}")
    return value


def only(block: Mapping[str, Any], known: Any, where: str) -> None:
    """Refuse keys that nobody knows."""
    if unknown := sorted(set(block) - set(known)):
        raise SpecError(f"{where} has no key {listed(unknown)}; the keys are {listed(sorted(known))}")


def one_of(value: Any, known: tuple[str, ...], where: str) -> None:
    """Refuse a value that is none of those that there are."""
    if value not in known:
        raise SpecError(f"{where} is {value!r}; there is {listed(known)}")


def listed(words: Iterable[str]) -> str:
    """Return words as a refusal says them."""
    return ", ".join(words)
