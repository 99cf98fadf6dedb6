from pathlib import Path

import pytest

from lib.jobs.gate import PUBLISH, Decision
from lib.jobs.publish import carry_out, register
from lib.records.labels import LabelVersions
from lib.records.ledger import Ledger
from lib.records.versions import find_version, write_version
from lib.tasks.serving.weights import build_network, shelf
from lib.tasks.spec import load_app

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def app(tmp_path: Path) -> Path:
    """An app with one label in its ledger and two versions, the first one served."""
    folder, image = tmp_path / "app", tmp_path / "ct.nii.gz"
    folder.mkdir()
    (folder / "app.toml").write_text((ROOT / "apps/airway/app.toml").read_text())
    image.write_bytes(b"image")
    labels = LabelVersions(folder, Ledger.of(folder))
    labels.adopt("ct", image, "final", image)
    task = load_app(folder).task("topowmamba")
    place, digest = shelf(folder, task), labels.hash(image)
    for name in ("v1", "v2"):
        write_version(place.root, build_network(task).state_dict(), {}, name=name)
        facts = {"trained_on": {"ct": {"image": digest, "label": digest}}}
        register(place, find_version(place.root, name), facts)
    carry_out(place, "v1", Decision(PUBLISH, ("no worse",)), against="")
    return folder
