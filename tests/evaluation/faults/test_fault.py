"""A finding becomes plain data for JSON."""

import json

from lib.evaluation.faults.fault import Fault


def test_fields_without_a_value_are_left_out() -> None:
    fault = Fault("BREAK", "It is broken.", "Join it.", label="trachea", voxel=(1, 2, 3), ras_mm=(0.5, 1.0, -2.0))
    answer = json.loads(json.dumps(fault.as_dict()))
    assert answer == {
        "code": "BREAK",
        "reason": "It is broken.",
        "remedy": "Join it.",
        "severity": "warning",
        "label": "trachea",
        "voxel": [1, 2, 3],
        "ras_mm": [0.5, 1.0, -2.0],
    }
