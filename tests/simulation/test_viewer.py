import numpy as np
import requests

from lib.simulation.viewer import ServerRefused, packed, unpacked


def test_a_label_is_packed_and_unpacked() -> None:
    label = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    assert (unpacked(packed(label, np.diag([1.0, 2.0, 3.0, 1.0]))) == label).all()


def test_a_refusal_says_what_the_server_said() -> None:
    answer = requests.Response()
    answer.status_code, answer._content = 503, b'{"code": "NO_WEIGHTS", "reason": "none yet"}'
    answer.headers["Content-Type"] = "application/json"
    error = ServerRefused("POST /infer/tubes", answer)
    assert (error.status, error.code) == (503, "NO_WEIGHTS") and "none yet" in str(error)


def test_a_refusal_may_say_nothing() -> None:
    answer = requests.Response()
    answer.status_code, answer._content = 502, b"<html>"
    assert ServerRefused("GET /info/", answer).code == ""
