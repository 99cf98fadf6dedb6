"""The card: hashes change with the data and the labels, and only with them."""

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path

from lib.records import card
from lib.records.card import Card, hash_data, hash_file, hash_labels


def test_the_hash_of_labels_depends_on_their_order() -> None:
    assert hash_labels(("a", "b")) == hash_labels(["a", "b"])
    assert len({hash_labels(names) for names in (("a", "b"), ("b", "a"), ("ab",), ("a", "b", "c"))}) == 4


def test_the_hash_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    content = b"x" * 3_000_000
    (tmp_path / "a").write_bytes(content)
    assert hash_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_the_hash_of_a_folder_depends_on_names_and_contents(tmp_path: Path) -> None:
    hashes = []
    for name, content in (("1.dcm", b"a"), ("2.dcm", b"a"), ("2.dcm", b"b")):
        folder = tmp_path / str(len(hashes))
        folder.mkdir()
        (folder / name).write_bytes(content)
        hashes.append(hash_file(folder))
    assert len(set(hashes)) == 3


def test_the_hash_of_a_case_depends_on_its_label(tmp_path: Path) -> None:
    image, label = tmp_path / "image", tmp_path / "label"
    image.write_bytes(b"i")
    label.write_bytes(b"l")
    before = hash_data({"a": [image, label], "b": [image]})
    label.write_bytes(b"m")
    after = hash_data({"a": [image, label], "b": [image]})
    assert before["a"] != after["a"] and before["b"] == after["b"]


def test_a_stored_card_is_json_and_has_a_date() -> None:
    labels = ("nasal_cavity",)
    card = Card(model="vmunet", labels=labels, recipe={"max_epochs": 1}, data={}, label_schema=hash_labels(labels))
    stored = json.loads(json.dumps(card.as_dict()))
    assert datetime.fromisoformat(stored["created"]).tzinfo is not None
    assert stored["labels"] == ["nasal_cavity"] and stored["parent"] == ""
    dated = Card(model="m", labels=(), recipe={}, data={}, label_schema="", created="2020-01-01T00:00:00+00:00")
    assert dated.as_dict()["created"] == "2020-01-01T00:00:00+00:00"


def test_code_version_is_the_commit_and_empty_outside_a_checkout(tmp_path, monkeypatch) -> None:
    assert re.fullmatch(r"[0-9a-f]{7,40}(-dirty)?", card.find_code_version())
    monkeypatch.setattr(card, "__file__", str(tmp_path / "card.py"))
    assert card.find_code_version() == ""
