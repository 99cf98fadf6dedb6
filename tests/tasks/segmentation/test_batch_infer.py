"""Batch inference runs on one device, skips unknown studies, and survives a failing study."""

from typing import Any

import pytest

from lib.data.findings import reject
from lib.tasks.segmentation.batch_infer import SequentialBatchInfer


class Store:
    """The part of a datastore that batch inference uses."""

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


# With multi_gpu, MONAI Label's class divides by the number of GPUs, which may be 0.
@pytest.mark.parametrize("multi_gpu", [True, False])
def test_a_failing_study_does_not_stop_the_others(multi_gpu: bool) -> None:
    result = SequentialBatchInfer()({"images": "all", "device": "cpu", "multi_gpu": multi_gpu}, Store(), infer)  # type: ignore[arg-type]
    assert result["a"] == {"label": "a", "device": "cpu", "save": True}
    assert "EMPTY" in result["b"]["error"] and "KeyError" in result["c"]["error"]


def test_only_unlabelled_studies_on_request() -> None:
    result = SequentialBatchInfer()({"images": "unlabeled"}, Store(), lambda *_: {})  # type: ignore[arg-type]
    assert sorted(result) == ["b", "c"]


def test_a_path_is_not_accepted_as_a_study() -> None:
    result = SequentialBatchInfer()({"images": ["a", "/etc/hostname"]}, Store(), infer)  # type: ignore[arg-type]
    assert list(result) == ["a"]
