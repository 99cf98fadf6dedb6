from pathlib import Path

import pytest
import typer

from lib.verbs.arguments import existing, options_of


def test_a_folder_without_an_app_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no app\.toml in"):
        existing(tmp_path)
    (tmp_path / "app.toml").write_text("")
    assert existing(tmp_path) == tmp_path


def test_options_have_a_value() -> None:
    assert options_of(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"} and options_of(None) == {}
    with pytest.raises(typer.BadParameter, match="got 'a'"):
        options_of(["b=1", "a"])
