"""The train task: its options, and the store's final labels as cases."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monailabel.datastore.local import LocalDatastore

from lib.records.labels import LabelVersions, Origin
from lib.records.ledger import Ledger
from lib.records.versions import list_versions
from lib.tasks.serving.weights import versions_dir
from lib.tasks.spec import TaskSpec
from lib.tasks.store.archive import ArchiveStore
from lib.tasks.training.train import RecipeTrain, labelled_cases, unlabelled_cases


@pytest.fixture
def store(tmp_path: Path, write_ct: Callable[..., Path]) -> LocalDatastore:
    folder = tmp_path / "studies"
    for name in ("p1_scan1", "p1_scan2", "p2"):
        write_ct(len(name), name=name, folder=folder, label_folder=folder / "labels" / "final")
    write_ct(9, folder=folder)
    return LocalDatastore(str(folder))


def test_options_are_the_fields_of_the_recipe(app_dir: Path, task: TaskSpec) -> None:
    info = RecipeTrain(app_dir, task).info()
    assert info["labels"] == {"tube": 1, "cavity": 2}
    assert info["config"]["max_epochs"] == 1 and info["config"]["patches_per_epoch"] == 16 and info["config"]["device"]


def test_cases_are_the_studies_with_a_final_label(store: LocalDatastore) -> None:
    cases = labelled_cases(store)
    assert [(case.id, case.patient) for case in cases] == [("p1_scan1", "p1"), ("p1_scan2", "p1"), ("p2", "p2")]
    assert all(case.image.is_file() and case.label and case.label.is_file() for case in cases)


def test_patients_are_found_by_tag_by_pattern_or_by_name(store: LocalDatastore) -> None:
    tags = {"p1_scan1": {"PatientID": "Anna"}, "p1_scan2": {"PatientID": "UNK", "StudyInstanceUID": "1.2.3"}}
    for image, known in tags.items():
        store.update_image_info(image, known)
    assert [case.patient for case in labelled_cases(store, r"^p")] == ["Anna", "1.2.3", "p"]


def test_options_of_a_request_are_checked_as_on_the_command_line(app_dir: Path, task: TaskSpec) -> None:
    trainer = RecipeTrain(app_dir, task)
    trainer.check_request({"model": "tubes", "device": ["cpu"], "client_id": "Anna", "max_epochs": "3"})
    with pytest.raises(ValueError, match="unknown option max_epoch, name; Finetune has max_epochs"):
        trainer.check_request({"max_epoch": 3, "name": "run"})


def test_studies_without_a_final_label_are_cases_for_distillation(store: LocalDatastore, tmp_path: Path) -> None:
    labelled = {case.id for case in labelled_cases(store)}
    unlabelled = unlabelled_cases(store)
    assert unlabelled and {case.id for case in unlabelled} == set(store.list_images()) - labelled
    assert all(case.label is None and case.image.is_file() for case in unlabelled)
    store.__class__ = type("Archive", (ArchiveStore,), {})
    assert unlabelled_cases(store) == []


def test_with_an_archive_the_submitted_label_files_are_used(
    store: LocalDatastore, app_dir: Path, tmp_path: Path
) -> None:
    """A SEG of the archive was converted, and the classes in a SEG of another program are unknown."""
    labels = LabelVersions(app_dir, Ledger.of(app_dir))
    (tmp_path / "submitted.nii.gz").write_bytes(b"as it was submitted")
    kept = labels.save_copy("p2", tmp_path / "submitted.nii.gz")
    labels.record("p2", Path(store.get_image_uri("p2")), "final", kept, Origin())

    class Archive(ArchiveStore):
        def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
            return LocalDatastore.datalist(self, full_path)

    store.__class__ = Archive
    store.labels = labels  # type: ignore[attr-defined]
    found = {case.id: case.label for case in labelled_cases(store)}
    assert found == {"p2": kept}


def test_a_request_of_a_viewer_starts_a_training(
    app_dir: Path, task: TaskSpec, starter: Path, store: LocalDatastore
) -> None:
    trainer = RecipeTrain(app_dir, task)
    assert trainer.stats() == {}
    request = {
        "model": "tubes",
        "client_id": "x",
        "name": "train_01",
        "device": ["cpu"],
        "max_epochs": 1,
        "local_rank": 0,
    }
    outcome = trainer(request | {"patches_per_epoch": [8, 16]}, store)
    (version,) = list_versions(versions_dir(app_dir, task))
    assert version.card["recipe"]["patches_per_epoch"] == 8 and outcome["version"] == version.name
    assert trainer.stats()["status"] == "done"
