"""3D Slicer's own HTTP client, from its extension, in every call that it has, as the module uses them."""

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
    """A client that remembers which of its calls were made."""

    def __init__(self, client: Any) -> None:
        self.client, self.made = client, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.made.add(name)
        return getattr(self.client, name)


def voxels(file: str) -> np.ndarray:
    """Return what a file of an answer holds, ``(X, Y, Z)``."""
    return np.asarray(nib.load(file).dataobj)


def test_every_call(
    server: Any, slicer: ModuleType, make_ct: Callable, write_nifti: Callable[..., Path], tmp_path: Path
) -> None:
    client = Noting(slicer.MONAILabelClient(f"{server.url}/", str(tmp_path), "Anna"))
    assert client.get_server_url() == server.url
    client.set_server_url(server.url)
    hu, label = make_ct(71)
    image, truth = write_nifti(hu, tmp_path / "slicer.nii.gz"), write_nifti(label, tmp_path / "truth.nii.gz")

    # Connect: is there a sign-in, what can the server do, what has it to label.
    assert client.auth_enabled() is False
    told = client.info()
    assert told["models"]["tubes"]["type"] == "segmentation" and told["labels"] == ["tube", "cavity"]
    # No name where every study is labelled.
    assert client.next_sample("random", {})["id"] in {"", *client.datastore()["objects"]}

    # A volume of the scene, not of the store: through a session, which ends with the scene.
    session = client.create_session(str(image))["session_id"]
    assert client.get_session(session)["name"] == session
    options = {"result_extension": ".nii.gz"}
    file, answer = client.infer("tubes", "", dict(options), session_id=session)
    assert voxels(file).shape == label.shape and answer["label_names"] == {"tube": 1, "cavity": 2}
    sent, _ = client.infer("tubes", "", dict(options), file=str(image))
    assert np.array_equal(voxels(sent), voxels(file)), "sent with the question, it is the same image"
    client.remove_session(session)
    with pytest.raises(slicer.MONAILabelClientException):
        client.get_session(session)

    # A volume for the store, its label submitted and taken back from there.
    assert client.upload_image(str(image), "slicer")["image"] == "slicer"
    segments = [{"name": "tube", "idx": 1}, {"name": "cavity", "idx": 2}]
    saved = client.save_label("slicer", str(truth), params={"label_info": segments})
    assert saved["image"] == "slicer"
    assert np.array_equal(voxels(client.download_label("slicer", "final")), label)

    # Update Model, its status, its end.
    task = client.train_start("tubes", {"max_epochs": 200, "val_interval": 200})
    assert task["id"] and client.train_status(check_if_running=True) and client.train_status()
    assert client.train_stop()

    with pytest.raises(slicer.MONAILabelClientException, match="NOT_OFFERED"):
        client.wsi_infer("tubes", "slicer")
    # Last: from then on the client sends each call's headers with the next one's, its content type included.
    client.update_auth({"token_type": "Bearer", "access_token": "of yesterday"})
    assert client.auth_valid_token() in (True, False)
    assert client.auth_token("anna", "nobody signs in here")["access_token"] is None
    calls = {name for name, _ in inspect.getmembers(slicer.MONAILabelClient, inspect.isfunction) if name[0] != "_"}
    assert client.made == calls, "a new version of the extension may have a new call"
    requests.delete(f"{server.url}/datastore/image?id=slicer", timeout=30).raise_for_status()
