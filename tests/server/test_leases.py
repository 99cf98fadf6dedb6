"""Next studies over HTTP: twenty annotators label two hundred studies, and one annotator leaves without finishing."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

pytestmark = pytest.mark.server
PEOPLE, CASES = 20, 200


def next_case(server: Any, who: str) -> dict[str, Any]:
    answer = requests.post(f"{server.url}/activelearning/random", json={"client_id": who}, timeout=60)
    assert answer.ok, answer.text
    return answer.json()


def save(server: Any, case: str, label: Path, who: str) -> requests.Response:
    with label.open("rb") as file:
        data = {"params": f'{{"user": "{who}"}}'}
        return requests.put(
            f"{server.url}/datastore/label?image={case}", data=data, files={"label": (label.name, file)}, timeout=60
        )


def test_twenty_annotators_share_two_hundred_cases(
    tmp_path: Path,
    launch: Callable[..., Any],
    command: Callable,
    new_app: Callable,
    make_ct: Callable,
    write_nifti: Callable[..., Path],
) -> None:
    hu, label = make_ct(0)
    first = write_nifti(hu, tmp_path / "studies" / "ct_000.nii.gz")
    for number in range(1, CASES):
        (first.parent / f"ct_{number:03d}.nii.gz").write_bytes(first.read_bytes())
    mine = write_nifti(label, tmp_path / "label.nii.gz")
    server = launch(command, new_app(tmp_path / "app"), first.parent, tmp_path)
    at_work: set[str] = set()
    done: Counter[str] = Counter()
    wrong: list[str] = []
    lock = threading.Lock()

    def work(who: str) -> None:
        skipped = False
        while True:
            case = next_case(server, who)["id"]
            if not case:
                with lock:
                    if sum(done.values()) >= CASES:
                        return
                time.sleep(0.1)
                continue
            if not skipped:
                skipped = True  # the annotator skips the first study
                continue
            with lock:
                wrong.extend([f"{case} was given to {who} as well"] if case in at_work else [])
                at_work.add(case)
            answer = save(server, case, mine, who)
            with lock:
                at_work.discard(case)
                done[case] += 1
                wrong.extend([] if answer.ok else [answer.text])

    people = [threading.Thread(target=work, args=(f"annotator {number}",)) for number in range(PEOPLE)]
    for person in people:
        person.start()
    for person in people:
        person.join(300)
    assert wrong == [] and len(done) == CASES and set(done.values()) == {1}
    assert requests.get(f"{server.url}/datastore/", timeout=60).json()["completed"] == CASES
    assert "final label" in next_case(server, "another annotator")["message"]


def test_the_lease_of_an_annotator_who_leaves_expires(
    tmp_path: Path,
    launch: Callable[..., Any],
    command: Callable,
    new_app: Callable,
    new_studies: Callable,
    wait: Callable,
) -> None:
    app = new_app(tmp_path / "app")
    toml = app / "app.toml"
    toml.write_text(toml.read_text().replace("[app]\n", "[app]\nlease_minutes = 0.1\n", 1))
    server = launch(command, app, new_studies(tmp_path / "studies", 1), tmp_path)
    assert next_case(server, "Anna")["id"] == "ct_0"
    answer = next_case(server, "Bert")
    assert (answer["id"], answer["remaining"]) == ("", 1) and "with other annotators" in answer["message"]
    assert next_case(server, "Anna")["id"] == "ct_0", "she may get her own study again"
    wait(lambda: next_case(server, "Bert")["id"] == "ct_0", 60, "Anna's time to be up")
    assert next_case(server, "Anna")["id"] == ""
