"""Builds are cached by the hash of their source, and PyTorch is used if there is no compiler."""

import logging
import subprocess
from pathlib import Path

import pytest
import torch

from lib.ops.native import build as module
from lib.ops.native.build import ISA_FLAGS, build, cache_dir, library, machine_isa
from lib.ops.selective_scan import native, selective_scan

needs_compiler = pytest.mark.skipif(library() is None, reason="no C++ compiler on this machine")


@needs_compiler
def test_a_second_build_uses_the_cached_library(tmp_path: Path) -> None:
    first = build("baseline", tmp_path)
    written = first.stat().st_mtime_ns
    assert build("baseline", tmp_path) == first and first.stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == [first.name]


@needs_compiler
def test_a_changed_source_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build("baseline", tmp_path)
    changed = []
    for path in module.SOURCES:
        changed.append(tmp_path / "source" / path.name)
        changed[-1].parent.mkdir(exist_ok=True)
        changed[-1].write_text(path.read_text() + "\n")
    monkeypatch.setattr(module, "SOURCES", tuple(changed))
    assert build("baseline", tmp_path) != first


def test_the_machine_has_a_supported_isa() -> None:
    assert machine_isa() in ISA_FLAGS


def test_the_cache_folder_is_in_xdg_cache_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_dir() == Path("/somewhere/topolabel/native")


@needs_compiler
def test_a_compiler_error_contains_the_compiler_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.cpp"
    broken.write_text("this is no C++")
    monkeypatch.setattr(module, "SOURCES", (broken,))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        build("baseline", tmp_path)
    assert "error" in caught.value.stderr
    assert not list(tmp_path.glob("*.so"))


def test_without_a_compiler_pytorch_scans_and_one_warning_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    # Use a new cache of loaded libraries, so that this test and other tests do not affect each other.
    monkeypatch.setattr(module, "open_library", module.open_library.__wrapped__)
    uncached = module.functools.cache(module.library.__wrapped__)
    monkeypatch.setattr(native, "library", uncached)
    u, b = torch.randn(1, 4, 9), torch.randn(1, 1, 2, 9)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            y = selective_scan(u, u, -torch.ones(4, 2), b, b)
    assert y.shape == u.shape
    assert [record.message for record in caplog.records if "kernels not built" in record.message] == [
        "C++ kernels not built, PyTorch is used and is several times slower: "
        "no C++ compiler: install g++, or set CXX to a compiler"
    ]
