"""Write the folder of an app: app.toml with the reason of each choice, main.py, and a README for its annotators."""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lib
from lib.planning.choices import Plan
from lib.planning.fingerprint import Fingerprint
from lib.records.versions import WEIGHTS
from lib.tasks.spec import COLD_START, load_app

TASK, CLICKS = "segment", "click"
CLICK_SIDE = 128
CLICK_STARTER = lib.REPOSITORY / "apps" / "airway" / "starter" / "sam_tiny"
"""Weights with which a new app answers its first clicks; no others are known to take single points."""
MAX_EPOCHS = 1000
PATCHES = 250
RETRAIN_AFTER = 5
"""Number of new labels after which the app trains by itself."""

_MAIN = '''"""The app of this folder; app.toml declares what it serves."""

import sys

# MONAI Label adds only the app's folder to the path, and only while it loads this file.
sys.path.insert(0, {repository!r})

from lib.tasks.app import TopoLabelApp  # noqa: E402,F401
'''


def write_app(app_dir: Path, plan: Plan, found: Fingerprint, source: str) -> None:
    """Write app.toml, main.py and README.md into an app's folder, which must not have them yet.

    Raises:
        SpecError: If the written app.toml is not accepted, which is a fault of the plan.
    """
    app_dir.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", app_dir.resolve().name)
    (app_dir / "app.toml").write_text("\n".join(_app_toml(name, plan, found, source)) + "\n", encoding="utf-8")
    (app_dir / "main.py").write_text(_MAIN.format(repository=str(lib.REPOSITORY)), encoding="utf-8")
    _add_click_starter(app_dir)
    load_app(app_dir)
    (app_dir / "README.md").write_text(_readme(name, app_dir, plan, found, source), encoding="utf-8")


def _add_click_starter(app_dir: Path) -> None:
    """Copy weights for the first clicks, and their licence; they know no names of labels, so their card is left out."""
    for name in (WEIGHTS, "LICENSE"):
        if (source := CLICK_STARTER / name).is_file():
            (app_dir / "starter" / CLICK_STARTER.name).mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, app_dir / "starter" / CLICK_STARTER.name / name)


def _app_toml(name: str, plan: Plan, found: Fingerprint, source: str) -> Iterator[str]:
    yield f"# Written by `python -m lib new` from {found.images} images, {found.labelled} with labels, of {source}."
    yield "# Each choice has its reason beside it. Change what you know better; keys are described in docs/inputs.md."
    yield "[app]"
    yield f"name = {_toml(name)}"
    yield f"description = {_toml('Segments ' + ', '.join(plan.labels))}"
    if not found.labelled:
        yield f"strategy = {_toml(COLD_START)}  # no image has a label: the first studies are typical of all images"
    if "patient_pattern" in plan.choices:
        yield _line(plan, "patient_pattern")
    yield ""
    yield "[policy]"
    yield f"retrain_after = {RETRAIN_AFTER}  # the app trains by itself after this many new labels"
    yield ""
    yield "[[task]]"
    yield f"name = {_toml(TASK)}"
    yield 'kind = "segmentation"'
    yield _line(plan, "model")
    yield f"labels = {_toml(list(plan.labels))}"
    if "tubular" in plan.choices:
        yield _line(plan, "tubular")
    for key in ("mirror", "mirror_pairs"):
        if key in plan.choices:
            yield f"# {plan.choices[key].reason}"
            yield f"augment = {{ {key} = {_toml(plan[key])} }}"
    yield from _image(plan)
    yield from _train(plan)
    yield 'scores = { by = "tta", samples = 4, pool = 50 }'
    yield ""
    if "one_piece" in plan.choices:
        yield f"[task.topology]  # {plan.choices['one_piece'].reason}"
        for label in plan["one_piece"]:
            yield f"{_toml(label)} = {{ components = 1 }}"
        yield ""
    yield from _click_task(plan)


def _image(plan: Plan) -> Iterator[str]:
    keys = ("modality", "intensity", "window", "spacing_mm", "roi", "slice_offsets")
    used = [key for key in (*keys, "channels") if key in plan.choices and plan[key] is not None]
    yield "# The image, key by key:"
    yield f"#   {TASK}s in {plan['dimensions']}-D: {plan.choices['dimensions'].reason}"
    yield from (f"#   {key}: {plan.choices[key].reason}" for key in used)
    yield f"image = {{ {', '.join(f'{key} = {_toml(plan[key])}' for key in used)} }}"


def _train(plan: Plan) -> Iterator[str]:
    batch = plan["batch_size"]
    patches = max(PATCHES // batch, 1) * batch
    cl_dice = ", cl_dice_weight = 0.5" if "tubular" in plan.choices else ""
    yield f"# The training: {plan.choices['max_minutes'].reason}."
    yield (
        f'train = {{ recipe = "finetune", max_epochs = {MAX_EPOCHS}, max_minutes = {_toml(plan["max_minutes"])}, '
        f"patches_per_epoch = {patches}, batch_size = {batch}, val_interval = 5{cl_dice} }}"
    )


def _click_task(plan: Plan) -> Iterator[str]:
    image = {key: plan[key] for key in ("modality", "intensity", "window") if plan[key] is not None}
    image |= {"spacing_mm": _click_spacing(plan), "roi": [CLICK_SIDE, CLICK_SIDE]}
    yield "[[task]]  # clicks answer from the start, by a network that was taught on airways"
    yield f"name = {_toml(CLICKS)}"
    yield 'kind = "click"'
    yield 'model = "sam_tiny"'
    yield 'object = "structure"'
    yield f"labels = {_toml(list(plan.labels))}"
    yield "# Intensities are those of the segmentation; the square shows as much of a slice as a patch there."
    yield f"image = {{ {', '.join(f'{key} = {_toml(value)}' for key, value in image.items())} }}"
    yield f'train = {{ recipe = "click", max_epochs = {MAX_EPOCHS}, max_minutes = {_toml(plan["max_minutes"])} }}'
    yield "rank = 8"


def _click_spacing(plan: Plan) -> list[float]:
    """Return the spacing at which the square of a click shows as much of a slice as a patch of the segmentation."""
    side_mm = max(side * step for side, step in zip(plan["roi"][:2], plan["spacing_mm"][:2], strict=True))
    return [round(side_mm / CLICK_SIDE, 3)] * 2 + [plan["spacing_mm"][2]]


def _line(plan: Plan, key: str) -> str:
    return f"{key} = {_toml(plan[key])}  # {plan.choices[key].reason}"


def _toml(value: Any) -> str:
    """Return a text, number, truth value, list or table as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_toml(one)}' for key, one in value.items())} }}"
    return json.dumps(value, ensure_ascii=False)


def _readme(name: str, app_dir: Path, plan: Plan, found: Fingerprint, source: str) -> str:
    labels = "\n".join(f"| {value} | {label} |" for value, label in enumerate(plan.labels, start=1))
    notes = "".join(f"- {note}\n" for note in plan.notes)
    refused = "".join(f"- `{case}`: {reason}\n" for case, reason in list(found.refused.items())[:20])
    quoted = shlex.quote(str(app_dir))
    parts = [
        f"# {name}\n\nAn app of TopoLabel for {found.images} images of {source} ({plan['modality']}).",
        f"| value | label |\n|---|---|\n{labels}\n\n0 is background, 255 is ignored.",
        "## Commands\n\n```sh\n"
        f"python -m lib serve {quoted}                     # label in OHIF or 3D Slicer at http://127.0.0.1:8000\n"
        f"python -m lib train {quoted} --task {TASK}\n"
        f"python -m lib evaluate {quoted} --task {TASK} --images DIR --labels DIR\n```",
        "## Labelling\n\nChoose *next sample*: the server hands out a study and, once a version is published, a "
        f"proposal. Correct and submit it. After {RETRAIN_AFTER} new labels the app trains by itself; a new version "
        "is served only if it is better on patients that it never saw. A model that begins "
        "with `click` answers clicks from the start; it was taught on airways, and misses other structures more often "
        "until it is trained on labels of this app.",
    ]
    if notes:
        parts.append(f"## Notes\n\n{notes.rstrip()}")
    if refused:
        parts.append(f"## Images and labels that cannot be used\n\n{refused.rstrip()}")
    return "\n\n".join(parts) + "\n"
