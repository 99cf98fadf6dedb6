"""A finding as plain data."""

import json

from lib.evaluation.faults.fault import Fault


def test_what_is_not_known_is_left_out() -> None:
    fault = Fault("BREAK", "It is broken.", "Join it.", label="trachea", voxel=(1, 2, 3), ras_mm=(0.5, 1.0, -2.0))
    told = json.loads(json.dumps(fault.as_dict()))
    assert told == {
        "code": "BREAK",
        "reason": "It is broken.",
        "remedy": "Join it.",
        "severity": "warning",
        "label": "trachea",
        "voxel": [1, 2, 3],
        "ras_mm": [0.5, 1.0, -2.0],
    }
