"""Batch inference: one device, known studies, and one failure is one failure."""

from typing import Any

import pytest

from lib.data.findings import reject
from lib.tasks.segmentation.batch_infer import OneByOne


class Store:
    """As much of a datastore as batch inference asks."""

    def list_images(self) -> list[str]:
        return ["a", "b", "c"]

    def get_unlabeled_images(self, *_: Any) -> list[str]:
        return ["b", "c"]


def infer(request: dict[str, Any], _: Any) -> dict[str, Any]:
    if request["image"] == "b":
        raise reject("EMPTY", "Nothing there.", "Send something.")
    if request["image"] == "c":
        raise KeyError("c")
    return {"label": request["image"], "device": request["device"], "save": request["save_label"]}


# multi_gpu divides by the number of GPUs in MONAI Label's own, also by zero.
@pytest.mark.parametrize("multi_gpu", [True, False])
def test_failures_stay_with_their_study(multi_gpu: bool) -> None:
    result = OneByOne()({"images": "all", "device": "cpu", "multi_gpu": multi_gpu}, Store(), infer)  # type: ignore[arg-type]
    assert result["a"] == {"label": "a", "device": "cpu", "save": True}
    assert "EMPTY" in result["b"]["error"] and "KeyError" in result["c"]["error"]


def test_unlabelled_only() -> None:
    result = OneByOne()({"images": "unlabeled"}, Store(), lambda *_: {})  # type: ignore[arg-type]
    assert sorted(result) == ["b", "c"]


def test_a_path_is_no_study() -> None:
    result = OneByOne()({"images": ["a", "/etc/hostname"]}, Store(), infer)  # type: ignore[arg-type]
    assert list(result) == ["a"]
