"""The build: kept by the hash of its source, refused with a reason, and never in the way where there is no compiler."""

import logging
import subprocess
from pathlib import Path

import pytest
import torch

from lib.ops.native import build as module
from lib.ops.native.build import FLAGS, build, cache_dir, library, machine_isa
from lib.ops.selective_scan import native, selective_scan

needs_compiler = pytest.mark.skipif(library() is None, reason="no C++ compiler on this machine")


@needs_compiler
def test_built_once_and_kept(tmp_path: Path) -> None:
    first = build("baseline", tmp_path)
    written = first.stat().st_mtime_ns
    assert build("baseline", tmp_path) == first and first.stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


@needs_compiler
def test_another_source_is_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("baseline", tmp_path)
    changed = []
    for path in module.SOURCES:
        changed.append(tmp_path / "source" / path.name)
        changed[-1].parent.mkdir(exist_ok=True)
        changed[-1].write_text(path.read_text() + "\n")
    monkeypatch.setattr(module, "SOURCES", tuple(changed))
    assert build("baseline", tmp_path) != first


def test_machine_has_a_build() -> None:
    assert machine_isa() in FLAGS


def test_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_dir() == Path("/somewhere/topolabel/native")


@needs_compiler
def test_a_failing_compiler_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is no C++")
    monkeypatch.setattr(module, "SOURCES", (broken,))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        build("baseline", tmp_path)
    assert "error" in caught.value.stderr
    assert not list(tmp_path.glob("*.so"))


def test_without_a_compiler_pytorch_scans_and_the_log_says_it_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    # A fresh cache of the answers, so that neither this test nor the others see each other's.
    monkeypatch.setattr(module, "open_library", module.open_library.__wrapped__)
    fresh = module.functools.cache(module.library.__wrapped__)
    monkeypatch.setattr(native, "library", fresh)
    u, b = torch.randn(1, 4, 9), torch.randn(1, 1, 2, 9)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            y = selective_scan(u, u, -torch.ones(4, 2), b, b)
    assert y.shape == u.shape
    assert [record.message for record in caplog.records if "stay in PyTorch" in record.message] == [
        "the kernels stay in PyTorch, several times slower: no C++ compiler (g++, or what CXX names)"
    ]
