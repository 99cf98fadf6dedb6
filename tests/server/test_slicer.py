"""All calls of 3D Slicer's own HTTP client, as its extension uses them."""

import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import requests

pytestmark = pytest.mark.server


class Noting:
    """A client that records the names of the called methods."""

    def __init__(self, client: Any) -> None:
        self.client, self.made = client, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.made.add(name)
        return getattr(self.client, name)


def voxels(file: str) -> np.ndarray:
    """Return the voxels ``(X, Y, Z)`` of an answer's file."""
    return np.asarray(nib.load(file).dataobj)


def test_every_call(
    server: Any, slicer: ModuleType, make_ct: Callable, write_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    client = Noting(slicer.MONAILabelClient(f"{server.url}/", str(tmp_path), "Anna"))
    assert client.get_server_url() == server.url
    client.set_server_url(server.url)
    hu, label = make_ct(71)
    image, truth = write_nifti(hu, tmp_path / "slicer.nii.gz"), write_nifti(label, tmp_path / "truth.nii.gz")

    # Connect: sign-in, models and the next study.
    assert client.auth_enabled() is False
    info = client.info()
    assert info["models"]["tubes"]["type"] == "segmentation" and info["labels"] == ["tube", "cavity"]
    # The name is empty if every study is labelled.
    assert client.next_sample("random", {})["id"] in {"", *client.datastore()["objects"]}

    # A volume of the scene that is not in the store uses a session, which ends with the scene.
    session = client.create_session(str(image))["session_id"]
    assert client.get_session(session)["name"] == session
    options = {"result_extension": ".nii.gz"}
    file, answer = client.infer("tubes", "", dict(options), session_id=session)
    assert voxels(file).shape == label.shape and answer["label_names"] == {"tube": 1, "cavity": 2}
    sent, _ = client.infer("tubes", "", dict(options), file=str(image))
    assert np.array_equal(voxels(sent), voxels(file)), "sent with the request, it is the same image"
    client.remove_session(session)
    with pytest.raises(slicer.MONAILabelClientException):
        client.get_session(session)

    # Add a volume to the store, submit its label and download it again.
    assert client.upload_image(str(image), "slicer")["image"] == "slicer"
    segments = [{"name": "tube", "idx": 1}, {"name": "cavity", "idx": 2}]
    saved = client.save_label("slicer", str(truth), params={"label_info": segments})
    assert saved["image"] == "slicer"
    assert np.array_equal(voxels(client.download_label("slicer", "final")), label)

    # Update Model: start, status and stop.
    task = client.train_start("tubes", {"max_epochs": 200, "val_interval": 200})
    assert task["id"] and client.train_status(check_if_running=True) and client.train_status()
    assert client.train_stop()

    with pytest.raises(slicer.MONAILabelClientException, match="NOT_OFFERED"):
        client.wsi_infer("tubes", "slicer")
    # Last, because afterwards the client repeats the headers of a call, such as its content type, in the next call.
    client.update_auth({"token_type": "Bearer", "access_token": "of yesterday"})
    assert client.auth_valid_token() in (True, False)
    assert client.auth_token("anna", "sign-in is disabled")["access_token"] is None
    calls = {name for name, _ in inspect.getmembers(slicer.MONAILabelClient, inspect.isfunction) if name[0] != "_"}
    assert client.made == calls, "a new version of the extension may have a new call"
    requests.delete(f"{server.url}/datastore/image?id=slicer", timeout=30).raise_for_status()
