"""Helpers of several routes."""

import io
from pathlib import Path

import pytest
from starlette.datastructures import UploadFile

from lib.server.refusals import Refused
from lib.server.routes.request import check_known, uploaded

SUFFIXES = (".nii", ".nii.gz", ".nrrd")


@pytest.mark.parametrize(
    "sent", ["a.nii.gz", "A.NII.GZ", "../../etc/a.nii.gz", "/etc/a.nii.gz", "a\x00b.nii.gz", "x" * 900 + ".nii.gz"]
)
def test_only_the_suffix_of_the_sent_file_name_is_used(sent: str) -> None:
    with uploaded(UploadFile(io.BytesIO(b"abc"), filename=sent), "mine", SUFFIXES) as path:
        assert path.name == "mine.nii.gz" and path.read_bytes() == b"abc"
    assert not path.exists() and not path.parent.exists()


@pytest.mark.parametrize("sent", [None, "", "a", "a.zip", "a.nii.gz.exe", "a.nii.gz/", "a.tar.gz", "a." + "x" * 400])
def test_other_files_are_refused(sent: str | None) -> None:
    with (
        pytest.raises(Refused, match="NOT_AN_IMAGE") as refused,
        uploaded(UploadFile(io.BytesIO(), filename=sent), "a", SUFFIXES),
    ):
        pass
    assert refused.value.status == 415 and len(refused.value.body["reason"]) < 200


def test_no_file_is_left_if_the_work_fails() -> None:
    kept: list[Path] = []
    with pytest.raises(KeyError), uploaded(UploadFile(io.BytesIO(), filename="a.nrrd"), "a", SUFFIXES) as path:
        kept.append(path)
        raise KeyError
    assert not kept[0].exists()


def test_check_known() -> None:
    check_known("a", ["a", "b"], "model")
    with pytest.raises(Refused, match="NO_SUCH_MODEL"):
        check_known("c", ["a", "b"], "model")
