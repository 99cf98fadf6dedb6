"""Model versions: complete or absent, even if a writer is killed or a reader reads meanwhile."""

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from lib.records import versions
from lib.records.versions import champion, list_versions, set_champion, write_version

ROOT = Path(__file__).resolve().parents[2]


def weights(value: float, size: int = 4) -> dict[str, torch.Tensor]:
    return {"conv.weight": torch.full((size, 2), value), "norm.count": torch.tensor(int(value))}


def names(root: Path) -> list[str]:
    return [version.name for version in list_versions(root)]


def test_a_written_version_is_read_back(tmp_path: Path) -> None:
    path = write_version(tmp_path, weights(3), {"parent": "", "metrics": [{"case": "ä", "dice": None}]}, name="v1")
    (version,) = list_versions(tmp_path)
    assert version.path == path and version.card == {"parent": "", "metrics": [{"case": "ä", "dice": None}]}
    assert sorted(p.name for p in path.iterdir()) == ["card.json", "weights.safetensors"]
    for name, value in weights(3).items():
        assert torch.equal(version.weights()[name], value)


def test_tied_and_transposed_tensors_are_stored(tmp_path: Path) -> None:
    tied = torch.arange(6.0).view(2, 3)
    write_version(tmp_path, {"a": tied, "b": tied, "c": tied.T}, {}, name="v1")
    found = list_versions(tmp_path)[0].weights()
    assert torch.equal(found["a"], found["b"]) and torch.equal(found["c"], tied.T)


def test_default_names_are_valid_unique_and_sorted_by_age(tmp_path: Path) -> None:
    paths = {write_version(tmp_path, weights(i), {}) for i in range(3)}
    assert len(paths) == 3 and names(tmp_path) == sorted(path.name for path in paths)


def test_a_version_is_written_once(tmp_path: Path) -> None:
    write_version(tmp_path, weights(1), {}, name="v1")
    with pytest.raises(ValueError, match="v1 exists"):
        write_version(tmp_path, weights(2), {}, name="v1")
    assert torch.equal(list_versions(tmp_path)[0].weights()["norm.count"], torch.tensor(1))


def test_the_second_of_two_writers_of_one_name_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, is_second = versions._rename_into_place, []

    def rename_second(partial: Path, target: Path) -> None:
        if not is_second:
            is_second.append(True)
            write_version(tmp_path, weights(1), {}, name="v1")
        real(partial, target)

    monkeypatch.setattr(versions, "_rename_into_place", rename_second)
    with pytest.raises(ValueError, match="v1 exists"):
        write_version(tmp_path, weights(2), {}, name="v1")
    assert int(list_versions(tmp_path)[0].weights()["norm.count"]) == 1
    assert [p.name for p in (tmp_path / "versions").iterdir()] == ["v1"]


@pytest.mark.parametrize("name", ["../out", "a/b", ".hidden", "", "x" * 101, "-flag", "a\nb"])
def test_invalid_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"name|no version"):
        set_champion(tmp_path, name)
    if name:
        with pytest.raises(ValueError, match="name has letters"):
            write_version(tmp_path, weights(1), {}, name=name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("card", [{"score": float("nan")}, {"path": Path("x")}])
def test_a_card_that_is_not_json_is_refused(tmp_path: Path, card: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        write_version(tmp_path, weights(1), card, name="v1")
    assert names(tmp_path) == []


@pytest.mark.parametrize("where", ["save_file", "sync", "_rename_into_place"])
def test_a_failed_writer_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(versions, where, fail)
    with pytest.raises(OSError, match="disk full"):
        write_version(tmp_path, weights(1), {}, name="v1")
    assert names(tmp_path) == [] and not list((tmp_path / "versions").iterdir())


@pytest.mark.parametrize("where", ["sync", "_rename_into_place"])
def test_a_killed_writer_leaves_no_incomplete_version(tmp_path: Path, where: str) -> None:
    write_version(tmp_path, weights(1), {}, name="v1")
    set_champion(tmp_path, "v1")
    script = (
        "import os, sys, torch\nfrom pathlib import Path\nfrom lib.records import versions\n"
        f"versions.{where} = lambda *_: os._exit(9)\n"
        "versions.write_version(Path(sys.argv[1]), {'a': torch.ones(2)}, {}, name='v2')\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], env=environment, check=False, timeout=120)
    assert done.returncode == 9
    assert len(list((tmp_path / "versions").iterdir())) == 2, "the killed writer left an incomplete folder"
    assert names(tmp_path) == ["v1"]
    served = champion(tmp_path)
    assert served is not None and served.name == "v1"
    write_version(tmp_path, weights(2), {}, name="v2")
    assert names(tmp_path) == ["v1", "v2"]


def test_the_champion_is_the_version_that_was_set_last(tmp_path: Path) -> None:
    assert champion(tmp_path) is None and list_versions(tmp_path) == []
    for index in (1, 2):
        write_version(tmp_path, weights(index), {}, name=f"v{index}")
        set_champion(tmp_path, f"v{index}")
        served = champion(tmp_path)
        assert served is not None and int(served.weights()["norm.count"]) == index
    with pytest.raises(ValueError, match="no version v3; there are: v1, v2"):
        set_champion(tmp_path, "v3")


def test_a_missing_champion_is_reported(tmp_path: Path) -> None:
    write_version(tmp_path, weights(1), {}, name="v1")
    set_champion(tmp_path, "v1")
    shutil.rmtree(tmp_path / "versions" / "v1")
    with pytest.raises(ValueError, match="champion v1 does not exist on disk"):
        champion(tmp_path)


@pytest.mark.parametrize("text", ["", "[]", '{"other": 1}', '{"version": "../../etc"}', '{"version": 3}'])
def test_a_damaged_alias_file_is_reported(tmp_path: Path, text: str) -> None:
    (tmp_path / "champion.json").write_text(text)
    with pytest.raises(ValueError, match=r"does not name a version|name has letters|does not exist on disk"):
        champion(tmp_path)


def test_a_failed_change_keeps_the_old_champion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("v1", "v2"):
        write_version(tmp_path, weights(1), {}, name=name)
    set_champion(tmp_path, "v1")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(versions.os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        set_champion(tmp_path, "v2")
    assert json.loads((tmp_path / "champion.json").read_text()) == {"version": "v1"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["champion.json", "versions"]


def test_readers_see_complete_versions_while_the_champion_changes(tmp_path: Path) -> None:
    faults: list[str] = []
    seen: set[int] = set()
    write_version(tmp_path, weights(0, 256), {"value": 0}, name="v0")
    set_champion(tmp_path, "v0")
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                version = champion(tmp_path)
                assert version is not None
                found, value = version.weights(), version.card["value"]
                seen.add(value)
                if not (found["conv.weight"] == value).all():
                    faults.append(f"{version.name} has weights of another version")
                if any(not (other.path / part).exists() for other in list_versions(tmp_path) for part in PARTS):
                    faults.append("an incomplete version is listed")
            except Exception as fault:
                faults.append(repr(fault))

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for value in range(1, 40):
            write_version(tmp_path, weights(value, 256), {"value": value}, name=f"v{value}")
            set_champion(tmp_path, f"v{value}")
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not faults and len(seen) > 1


PARTS = (versions.WEIGHTS, versions.CARD)
