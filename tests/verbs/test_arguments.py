from pathlib import Path

import pytest
import typer

from lib.verbs.arguments import check_app, find_studies, parse_options


def test_a_folder_without_an_app_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no app\.toml in"):
        check_app(tmp_path)
    (tmp_path / "app.toml").write_text("")
    assert check_app(tmp_path) == tmp_path


def test_an_option_without_a_value_is_refused() -> None:
    assert parse_options(["a=1", "b=x=y"]) == {"a": "1", "b": "x=y"} and parse_options(None) == {}
    with pytest.raises(typer.BadParameter, match="got 'a'"):
        parse_options(["b=1", "a"])


def test_studies_are_those_given_or_those_of_the_app(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="give --studies"):
        find_studies(tmp_path, "")
    (tmp_path / "studies").mkdir()
    assert find_studies(tmp_path, None) == str(tmp_path / "studies")
    assert find_studies(tmp_path, "http://archive/dicom-web") == "http://archive/dicom-web"
