"""MONAI Label's folder datastore with atomic writes."""

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel
from monailabel.interfaces.exception import ImageNotFoundException

from lib.data.files.atomic import replacing


class AtomicDatastore(LocalDatastore):
    """A folder datastore that replaces images, labels and index atomically; MONAI Label overwrites them in place."""

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Add an image. A partly written file would be listed as a study and block the complete upload."""
        name, suffix = self._to_id(os.path.basename(image_filename))
        image_id = image_id or name
        target = Path(self._datastore.image_path()) / f"{image_id}{suffix}"
        with FileLock(self._lock_file):
            with replacing(target) as file:
                shutil.copyfile(image_filename, file)
            facts = {**(image_info or {}), "ts": int(time.time()), "name": target.name}
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=facts, ext=suffix))
            self._update_datastore_file(lock=False)
        return image_id

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Save a label; the former file stays intact until the new one replaces it."""
        _, suffix = self._to_id(os.path.basename(label_filename))
        target = Path(self._datastore.label_path(label_tag)) / f"{image_id}{suffix}"
        with FileLock(self._lock_file):
            image = self._datastore.objects.get(image_id)
            if image is None:
                raise ImageNotFoundException(f"Image {image_id} not found")
            with replacing(target) as file:
                shutil.copyfile(label_filename, file)
            for other in self.label_files(image_id, label_tag):
                if other != target:
                    other.unlink()
            facts = {**(label_info or {}), "ts": int(time.time()), "name": target.name}
            image.labels[label_tag] = DataModel(info=facts, ext=suffix)
            self._update_datastore_file(lock=False)
        return image_id

    def label_files(self, image_id: str, label_tag: str) -> list[Path]:
        """Return the files of a label: one, or several with different suffixes if another program wrote some."""
        folder = Path(self._datastore.label_path(label_tag))
        suffixes = [pattern.lstrip("*") for pattern in self._extensions]
        # The index knows a suffix that another program wrote in capitals.
        if known := self._datastore.label(image_id, label_tag):
            suffixes.append(known.ext)
        names = dict.fromkeys(f"{image_id}{suffix}" for suffix in suffixes)
        return [folder / name for name in names if (folder / name).is_file()]

    def image_file(self, image_id: str) -> Path:
        """Return the file of an image as the index names it; unlike `get_image_uri`, it follows no link."""
        image = self._datastore.objects.get(image_id)
        return Path(self._datastore.image_path()) / f"{image_id}{image.image.ext if image else ''}"

    def label_folder(self, label_tag: str) -> Path:
        """Return the folder of the labels with a tag."""
        return Path(self._datastore.label_path(label_tag))

    def found_files(self, label_tag: str) -> list[tuple[Path, str]]:
        """Return the label files in the folder of a tag, each with the name of the image that it is named after."""
        folder = self.label_folder(label_tag)
        names = self._list_files(str(folder), self._extensions) if folder.is_dir() else {}
        return [(folder / name, self._to_id(name)[0]) for name in sorted(names) if not name.startswith(".")]

    def other_files(self, label_tag: str) -> list[str]:
        """Return the names of the other files and folders in the folder of a tag; hidden ones are left out."""
        folder = self.label_folder(label_tag)
        entries = [path for path in folder.iterdir() if path.name[0] != "."] if folder.is_dir() else []
        suffixes = tuple(pattern.lstrip("*") for pattern in self._extensions)
        return sorted(path.name for path in entries if path.is_dir() or not path.name.lower().endswith(suffixes))

    def watch_moves(self) -> None:
        """Watch for files that another process moves here or has written, which MONAI Label's watcher does not."""
        if self._auto_reload:
            self._handler.on_moved = self._on_moved
            self._handler.on_closed = self._on_closed

    def _on_moved(self, event: Any) -> None:
        if event.dest_path == self._datastore_config_path:
            self._init_from_datastore_file()
        else:
            self.refresh()

    def _on_closed(self, event: Any) -> None:
        # Reading the folder again closes the lock, a hidden file: it must not cause the next reading.
        if event.src_path != self._datastore_config_path and not Path(event.src_path).name.startswith("."):
            self.refresh()

    def _update_datastore_file(self, lock: bool = True) -> None:
        if lock:
            with FileLock(self._lock_file):
                return self._update_datastore_file(lock=False)
        index = Path(self._datastore_config_path)
        if index.is_file() and index.stat().st_mtime != self._config_ts:
            self._merge_index(LocalDatastoreModel.model_validate_json(index.read_text()))
        with replacing(index) as file:
            file.write_text(json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str))
        self._config_ts = index.stat().st_mtime

    def _merge_index(self, index: LocalDatastoreModel) -> None:
        """Add the entries that another process, such as a batch inference, wrote since this process read the index."""
        objects = self._datastore.objects
        for image, stored in index.objects.items():
            if not (Path(self._datastore.image_path()) / f"{image}{stored.image.ext}").exists():
                continue
            entry = objects.setdefault(image, stored)
            entry.image.info = {**stored.image.info, **entry.image.info}
            for tag, label in stored.labels.items():
                if tag not in entry.labels and self.label_files(image, tag):
                    entry.labels[tag] = label
