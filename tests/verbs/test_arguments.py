from pathlib import Path

import pytest

from lib.verbs.arguments import existing


def test_a_folder_without_an_app_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no app\.toml in"):
        existing(tmp_path)
    (tmp_path / "app.toml").write_text("")
    assert existing(tmp_path) == tmp_path
