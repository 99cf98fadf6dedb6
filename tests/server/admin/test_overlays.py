"""Pictures drawn in a separate process: each one once, few at a time, the oldest removed, and faults reported."""

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from lib.server.admin import overlays
from lib.server.admin.overlays import FOLDER, Picture, overlay
from lib.server.refusals import Refused


@pytest.fixture
def picture(tmp_path: Path, make_ct: Callable, write_nifti: Callable) -> Picture:
    hu, label = make_ct(0)
    image = write_nifti(hu, tmp_path / "ct.nii.gz")
    return Picture(image, write_nifti(label, tmp_path / "label.nii.gz"), "key", {"tube": 1}, "-c; <title>")


def drawing(monkeypatch: pytest.MonkeyPatch, draw: Callable[[Path], object]) -> None:
    """Replace the function that draws."""
    monkeypatch.setattr(overlays, "_draw", lambda _, target: draw(target))


def write(target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    for end in ("", "-small"):
        target.with_name(f"{target.name}{end}.png").write_bytes(b"a picture")


def test_a_picture_is_drawn_once(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Path] = []
    drawing(monkeypatch, lambda target: (drawn.append(target), write(target)))
    threads = [threading.Thread(target=overlay, args=(tmp_path, picture), kwargs={"small": n > 1}) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == [tmp_path / FOLDER / "key"]
    assert overlay(tmp_path, picture, small=True).read_bytes() == b"a picture"


def test_a_failed_drawing_is_refused_with_the_reason(
    tmp_path: Path, picture: Picture, make_ct: Callable, write_nifti: Callable
) -> None:
    write_nifti(make_ct(0)[1][:-1], picture.label)
    with pytest.raises(Refused) as caught:
        overlay(tmp_path, picture, small=False)
    assert caught.value.status == 422 and "both must be equal" in caught.value.body["reason"]
    assert not list((tmp_path / FOLDER).glob("*"))


def test_a_drawing_that_times_out_is_refused(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, timeout: float, **__: object) -> None:
        raise subprocess.TimeoutExpired("draw", timeout)

    monkeypatch.setattr(overlays.subprocess, "run", run)
    with pytest.raises(Refused) as caught:
        overlay(tmp_path, picture, small=False)
    assert caught.value.status == 503


def test_only_a_few_requests_wait(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(target: Path) -> None:
        begun.set()
        assert go_on.wait(20)
        write(target)

    drawing(monkeypatch, slow)
    monkeypatch.setattr(overlays, "_waiting", threading.BoundedSemaphore(1))
    first = threading.Thread(target=overlay, args=(tmp_path, picture), kwargs={"small": False})
    first.start()
    assert begun.wait(20)
    with pytest.raises(Refused) as caught:
        overlay(tmp_path, picture, small=False)
    go_on.set()
    first.join()
    assert caught.value.body["code"] == "BUSY" and overlay(tmp_path, picture, small=False).is_file()


def test_the_oldest_pictures_are_removed(tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / FOLDER
    for number in range(5):
        write(folder / f"old{number}")
        for file in folder.glob(f"old{number}*"):
            os.utime(file, (number, number))
    monkeypatch.setattr(overlays, "MAX_FILES", 4)
    drawing(monkeypatch, write)
    overlay(tmp_path, picture, small=False)
    assert {file.name for file in folder.glob("*.png")} == {"key.png", "key-small.png", "old4.png", "old4-small.png"}
