"""Export of the served student: the ONNX model gives the same logits as the server."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from lib.data.cases import Case
from lib.data.pipeline import ImageSpec, read
from lib.models.inference.onnx import create_session, export
from lib.models.student import StudentConv
from lib.models.weights import save_weights
from lib.tasks.serving.export import agreement, export_student, windows
from lib.tasks.serving.weights import build_network
from lib.tasks.spec import SpecError, load_app

pytest.importorskip("onnxruntime", reason="ONNX Runtime is optional; torch runs a student as well")


@pytest.fixture
def app(app_dir: Path) -> Path:
    """The tiny app with a student network and its starter."""
    text = (app_dir / "app.toml").read_text()
    (app_dir / "app.toml").write_text(text.replace("topowmamba_tiny", "student_conv"))
    task, path = load_app(app_dir).task("tubes"), app_dir / "starter" / "student_conv" / "weights.safetensors"
    path.parent.mkdir(parents=True)
    torch.manual_seed(0)
    save_weights(build_network(task), path)
    return app_dir


def test_the_exported_model_gives_the_logits_of_the_server(app: Path, tmp_path: Path) -> None:
    facts = export_student(app, "tubes", tmp_path / "student.onnx")
    model = (tmp_path / "student.onnx").read_bytes()
    assert facts == {
        "output": str(tmp_path / "student.onnx"),
        "version": "starter",
        "megabytes": round(len(model) / 1e6, 2),
    }
    network = build_network(load_app(app).task("tubes"), app / "starter" / "student_conv" / "weights.safetensors")
    image = torch.rand(2, 3, 64, 32)
    (found,) = create_session(model).run(None, {"image": image.numpy()})
    with torch.inference_mode():
        assert np.allclose(found, network(image).numpy(), atol=1e-4)


def test_an_int8_export_reports_its_agreement(app: Path, tmp_path: Path, write_ct: Callable[..., Path]) -> None:
    write_ct(0, folder=tmp_path / "studies")
    whole = export_student(app, "tubes", tmp_path / "whole.onnx")
    facts = export_student(app, "tubes", tmp_path / "small.onnx", images=tmp_path / "studies")
    assert facts["megabytes"] < 0.5 * whole["megabytes"]
    assert facts["agreement"] and all(0.5 < value <= 1 for value in facts["agreement"].values())


def test_a_model_agrees_with_its_own_network_and_not_with_another(app: Path, write_ct: Callable[..., Path]) -> None:
    task = load_app(app).task("tubes")
    network, case = build_network(task), Case("a", write_ct(0), None, "a")
    other = build_network(task)
    with torch.no_grad():
        other.classifier.bias[1] += 100  # type: ignore[union-attr]
    assert isinstance(network, StudentConv) and isinstance(other, StudentConv)
    same = agreement(network, export(network, 3), [case], task.image, task.labels)
    assert same and all(value > 0.999 for value in same.values())
    assert agreement(network, export(other, 3), [case], task.image, task.labels)["tube"] < 0.9


@pytest.mark.parametrize(("roi", "shape"), [((32, 32), (3, 32, 32)), ((64, 64), (3, 32, 32)), ((32, 32, 32), None)])
def test_windows_have_the_shape_of_the_network_input(
    roi: tuple[int, ...], shape: tuple[int, ...] | None, write_ct: Callable[..., Path]
) -> None:
    spec = ImageSpec((2.0, 2.0, 2.0), (-1000.0, 400.0), roi, (-1, 0, 1) if len(roi) == 2 else (0,))
    case = Case("a", write_ct(0), None, "a")
    found = windows(case, spec, 32, count=5)
    volume = read(case.image, spec).normalised()[0]
    if shape is None:
        assert [tuple(patch.shape) for patch in found] == [(1, 1, 32, 32, 20)]
        return
    assert [tuple(patch.shape) for patch in found] == [(1, *shape)] * 5
    assert torch.equal(found[0][0, 0], found[0][0, 1]), "the edge slice is repeated"
    assert torch.equal(found[0][0, 2], volume[2:34, :32, 1])


def test_a_task_with_another_network_is_refused(app_dir: Path, starter: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="name a task with the model student_conv"):
        export_student(app_dir, "tubes", tmp_path / "x.onnx")
