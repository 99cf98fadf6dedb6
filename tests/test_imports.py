"""Imports that wait, and what a server may import before it answers."""

import subprocess
import sys
from pathlib import Path

import pytest

from lib.imports import deferred

ROOT = Path(__file__).resolve().parents[1]
SLOW_PACKAGES = (
    "monai",
    "ignite",
    "mlflow",
    "torchvision",
    "transformers",
    "peft",
    "matplotlib",
    "skimage",
    "onnxruntime",
)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `slow_one` that `quick_one` imports names from."""
    (tmp_path / "slow_one").mkdir()
    (tmp_path / "slow_one/__init__.py").write_text("LOADED = True\n")
    (tmp_path / "slow_one/part.py").write_text("class Base:\n    size = 3\n\ndef double(x):\n    return 2 * x\n")
    (tmp_path / "quick_one.py").write_text(
        "from slow_one.part import Base, double\nimport slow_one.part as part\n\ndef use():\n    return double(2)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    for name in [name for name in sys.modules if name.split(".")[0] in ("slow_one", "quick_one")]:
        del sys.modules[name]


def test_the_package_is_imported_at_the_first_use(packages: Path) -> None:
    with deferred("slow_one"):
        import quick_one  # type: ignore[import-not-found]
    assert not [name for name in sys.modules if name.startswith("slow_one")]
    assert quick_one.use() == 4 and "slow_one" in sys.modules
    assert quick_one.Base.size == 3 and quick_one.part.double(3) == 6


def test_a_deferred_class_can_be_subclassed_and_compared_with(packages: Path) -> None:
    with deferred("slow_one"):
        import quick_one  # type: ignore[import-not-found]

    class Child(quick_one.Base):
        pass

    assert Child.size == 3 and isinstance(Child(), quick_one.Base)
    assert not isinstance(3, quick_one.Base)


def test_a_package_that_is_there_stays(packages: Path) -> None:
    import slow_one.part  # type: ignore[import-not-found]

    with deferred("slow_one"):
        import quick_one  # type: ignore[import-not-found]
    assert quick_one.double is slow_one.part.double


def test_importing_lib_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import lib; print(sorted(set(sys.modules) - before))"
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "torch" not in found and "lib" in found


def test_a_server_imports_no_package_that_only_trainings_need(tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    for name in ("main.py", "app.toml"):
        (app / name).write_text((ROOT / "apps/airway" / name).read_text())
    code = (
        "import sys\n"
        "from lib.server import serve\n"
        "def run(*_):\n"
        "    import lib.server.app\n"
        f"    print([name for name in {SLOW_PACKAGES} if name in sys.modules])\n"
        "serve._run = run\n"
        f"serve.serve({str(app)!r}, {str(tmp_path)!r}, port=0)\n"
    )
    environment = {"PATH": "/usr/bin:/bin"}
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, env=environment
    ).stdout
    assert found.splitlines()[-1] == "[]"


def test_drawing_a_picture_imports_no_torch() -> None:
    code = "import sys, lib.server.admin.draw; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
