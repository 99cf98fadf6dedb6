import numpy as np
import requests

from lib.simulation.viewer import ServerRefused, pack_label, unpack_label


def test_a_label_survives_packing_and_unpacking() -> None:
    label = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert (unpack_label(pack_label(label, np.diag([1.0, 2.0, 3.0, 1.0]))) == label).all()


def test_a_refusal_has_the_status_the_code_and_the_text_of_the_answer() -> None:
    answer = requests.Response()
    answer.status_code, answer._content = 503, b'{"code": "NO_WEIGHTS", "reason": "none yet"}'
    answer.headers["Content-Type"] = "application/json"
    error = ServerRefused("POST /infer/tubes", answer)
    assert (error.status, error.code) == (503, "NO_WEIGHTS") and "none yet" in str(error)


def test_a_refusal_without_json_has_no_code() -> None:
    answer = requests.Response()
    answer.status_code, answer._content = 502, b"<html>"
    assert ServerRefused("GET /info/", answer).code == ""
