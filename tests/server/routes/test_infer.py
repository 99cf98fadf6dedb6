"""Inference on the real server: the waiting time in the answer, and params that are refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.server


def infer(server: Any, query: str = "image=ct_0&output=json", **sent: Any) -> requests.Response:
    return requests.post(f"{server.url}/infer/tubes?{query}", timeout=120, **sent)


def test_the_time_waited_is_in_the_answer(server: Any) -> None:
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: infer(server), range(3)))
    waits = sorted(answer.json()["latencies"]["queue"] for answer in answers)
    totals = [answer.json()["latencies"]["total"] for answer in answers]
    assert waits[0] < 0.1 and waits[2] > 0.8 * min(totals) and waits[2] > waits[1] > waits[0]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"save_label": True, "label_tag": "../../out"}, "BAD_NAME"),
        ({"save_label": True, "label_tag": ["../x"]}, "BAD_NAME"),
        ({"save_label": True, "label_tag": "final"}, "NOT_BY_A_PERSON"),
        ({"mend": "../../x"}, "BAD_NAME"),
        ({"mend": "nothing"}, "NO_SUCH_LABEL"),
        ({"result_extension": {"a": 1}}, "BAD_REQUEST"),
        ({"result_dtype": [["uint8"]]}, "BAD_REQUEST"),
        ({"result_dtype": "float64"}, "BAD_REQUEST"),
    ],
)
def test_params_are_refused(server: Any, params: dict[str, Any], code: str) -> None:
    answer = infer(server, data={"params": json.dumps(params)})
    assert 400 <= answer.status_code < 500 and answer.json()["code"] == code, answer.text


@pytest.mark.parametrize("output", ["image", "json", "all"])
def test_no_result_file_is_requested(server: Any, output: str) -> None:
    answer = infer(server, f"image=ct_0&output={output}", data={"params": '{"result_write_to_file": false}'})
    assert answer.status_code == 200, answer.text


def test_a_proposal_is_saved_as_a_proposal(server: Any) -> None:
    answer = infer(server, data={"params": '{"save_label": true, "label_tag": "mine"}'})
    assert answer.ok, answer.text
    url = f"{server.url}/datastore/label?label=ct_0&tag=mine"
    assert requests.get(url, timeout=10).ok
    requests.delete(f"{server.url}/datastore/label?id=ct_0&tag=mine", timeout=10).raise_for_status()


@pytest.mark.parametrize("name", ["a.exe", "a." + "b" * 400, "a\x00.nii", "..", "a.zip"])
def test_uploaded_file_names_are_not_used(server: Any, name: str) -> None:
    answer = infer(server, "output=json", files={"file": (name, b"PK\x03\x04")})
    assert answer.status_code in (415, 422), answer.text
