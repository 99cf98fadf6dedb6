"""Fuzz targets, with the assertions that must hold for any input."""

import contextlib
import json
import os
import tempfile
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, unquote_to_bytes

from lib.data.findings import InputRejected
from lib.data.formats import dicom, load
from lib.data.scintigraphy.counts import read_counts
from lib.data.validate import inspect
from lib.server.guard.limits import Body, check_headers
from lib.server.guard.names import check_address, check_name, check_query
from lib.server.guard.origins import Origins
from lib.server.guard.values import read_object
from lib.server.refusals import Refused

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".mha", ".dcm", ".png", ".jpg")
_SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None
_folder = Path(tempfile.mkdtemp(prefix="topolabel-fuzz-", dir=_SHM))


def readers(data: bytes) -> None:
    """Image readers and input gate: the first byte selects the suffix, and only InputRejected may be raised."""
    if not data:
        return
    suffix = SUFFIXES[data[0] % len(SUFFIXES)]
    path = _folder / f"a{suffix}"
    path.write_bytes(data[1:])
    findings = inspect(path)
    assert all(finding.code and finding.remedy for finding in findings)
    try:
        volume = load(path)
        assert volume.voxels.ndim <= 7 and volume.affine.shape == (4, 4)
    except InputRejected:
        pass
    if suffix == ".dcm":
        dicom.patient_id(path)
        with contextlib.suppress(InputRejected):
            assert read_counts(path).counts.min() >= 0


def guard(data: bytes) -> None:
    """Request checks: accepted names stay inside the store after repeated decoding, and only Refused may be raised."""
    method, _, rest = data.partition(b" ")
    target, _, rest = rest.partition(b"\n")
    host, _, body = rest.partition(b"\n")
    path, _, query = target.partition(b"?")
    scope = {
        "type": "http",
        "method": method.decode("latin-1")[:8],
        "path": unquote(path.decode("latin-1")),
        "raw_path": path,
        "query_string": query,
        "headers": [(b"host", host), (b"origin", body[:40]), (b"content-length", body[:20])],
    }
    for check in (check_headers, check_address, check_query, Origins(hosts=("localhost",)).check):
        _is_accepted(lambda check=check: check(scope))
    if _is_accepted(lambda: check_address(scope)):
        _assert_inside(PurePosixPath("/srv"), scope["path"].lstrip("/"))
    name = unquote_to_bytes(query).decode("utf-8", "replace")
    if _is_accepted(lambda: check_name(name, "image")):
        _assert_inside(PurePosixPath("/srv/store"), name)
    _is_accepted(lambda: Body(scope, None, 100).check_length())  # type: ignore[arg-type]
    text = body.decode("utf-8", "surrogateescape")
    if _is_accepted(lambda: read_object(text)):
        json.dumps(read_object(text), allow_nan=False).encode()


def _is_accepted(check: Callable[[], object]) -> bool:
    try:
        check()
    except Refused as refused:
        assert 400 <= refused.status < 500
        json.dumps(refused.body)
        return False
    return True


def _assert_inside(home: PurePosixPath, name: str) -> None:
    for _ in range(3):
        for form in (name, unicodedata.normalize("NFKC", name)):
            assert "\0" not in form
            where = os.path.normpath(home / form.replace("\\", "/"))
            assert PurePosixPath(where).is_relative_to(home), (name, where)
        name = unquote(name)


TARGETS: dict[str, Callable[[bytes], None]] = {"readers": readers, "guard": guard}
