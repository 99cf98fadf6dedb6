"""The lint of words: what it finds, and what it leaves alone."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def words() -> ModuleType:
    spec = importlib.util.spec_from_file_location("words", ROOT / ".ci/words.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a\nwhat he Told", [(2, "Told")]),
        ("self._told = 1", [(1, "told")]),
        ("kept_aside, moved on", [(1, "kept_aside"), (1, "moved on")]),
        ("toldalone untold indeed heeding", []),
        ("NOBODY_WAITS", []),
        ("nobody waits", [(1, "nobody")]),
    ],
)
def test_words_are_found_in_prose_and_in_identifiers(
    words: ModuleType, text: str, found: list[tuple[int, str]]
) -> None:
    assert words.find_words(text) == found
