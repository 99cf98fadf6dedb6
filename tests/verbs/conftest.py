from pathlib import Path

import pytest

from lib.jobs.gate import PUBLISH, Decision
from lib.jobs.publish import apply_decision, register
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.records.versions import find_version, write_version
from lib.tasks.serving.weights import build_network, open_task_versions
from lib.tasks.spec import load_app

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app with one label in its ledger and two model versions; the first one is served."""
    folder, image = tmp_path / "app", tmp_path / "ct.nii.gz"
    folder.mkdir()
    (folder / "app.toml").write_text((ROOT / "apps/airway/app.toml").read_text())
    image.write_bytes(b"image")
    labels = LabelVersions(folder, Ledger.of(folder))
    labels.ensure_recorded("ct", image, "final", image)
    task = load_app(folder).task("topowmamba")
    versions, digest = open_task_versions(folder, task), labels.hash(image)
    for name in ("v1", "v2"):
        write_version(versions.root, build_network(task).state_dict(), {}, name=name)
        facts = {"trained_on": {"ct": {"image": digest, "label": digest}}}
        register(versions, find_version(versions.root, name), facts)
    apply_decision(versions, "v1", Decision(PUBLISH, ("no worse",)), compared_with="")
    return folder
