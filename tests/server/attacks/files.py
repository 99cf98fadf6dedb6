"""Files that are not images, or that expand to huge images."""

import gzip
import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import cache

import numpy as np

ZEROS = bytes(1 << 20)


def nifti(content: bytes = bytes(2 * 4**3), **fields: tuple[int, str, tuple]) -> bytes:
    """Return a NIfTI-1 file of 4 x 4 x 4 int16 voxels with changed header fields (offset, struct format, values)."""
    head = bytearray(352)
    struct.pack_into("<i", head, 0, 348)
    struct.pack_into("<8h", head, 40, 3, 4, 4, 4, 1, 1, 1, 1)
    struct.pack_into("<hh", head, 70, 4, 16)
    struct.pack_into("<8f", head, 76, 1, 1, 1, 1, 1, 1, 1, 1)
    struct.pack_into("<f", head, 108, 352)
    struct.pack_into("<hh", head, 252, 0, 1)
    struct.pack_into("<12f", head, 280, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0)
    head[344:348] = b"n+1\0"
    for offset, layout, values in fields.values():
        struct.pack_into(layout, head, offset, *values)
    return bytes(head) + content


def dims(*sizes: int) -> bytes:
    return nifti(dim=(40, "<8h", (*sizes, *[1] * 8)[:8]))


def nrrd(*lines: str, content: bytes = bytes(128)) -> bytes:
    base = ["type: short", "encoding: raw", "endian: little"]
    return "\n".join(["NRRD0004", *base, *lines, "", ""]).encode() + content


def meta(size: str, data: str = "LOCAL", more: str = "") -> bytes:
    head = f"ObjectType = Image\nNDims = 3\n{more}DimSize = {size}\nElementType = MET_SHORT\nElementDataFile = {data}\n"
    return head.encode() + bytes(128)


def zipped() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../escaped.nii", ZEROS * 8)
    return packed.getvalue()


def gzip_bomb(mib: int = 64) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return packer.compress(nifti()) + b"".join(packer.compress(ZEROS) for _ in range(mib)) + packer.flush()


def deflated_dicom() -> bytes:
    meta_info = b"\x02\x00\x10\x00UI\x16\x001.2.840.10008.1.2.1.99"
    length = b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta_info))
    packer = zlib.compressobj(9, wbits=-15)
    return bytes(128) + b"DICM" + length + meta_info + packer.compress(ZEROS * 16) + packer.flush()


class Shell:
    """A pickle that would run a shell command."""

    def __reduce__(self) -> tuple[Callable, tuple]:
        return (open, ("pickled-was-here", "w"))


@cache
def files(secret: str) -> dict[str, tuple[str, bytes]]:
    """Return the files with their names, by kind of attack.

    Args:
        secret: Path of a file whose content no answer may contain.
    """
    noise = np.random.default_rng(0).bytes(5000)
    return {
        "nothing": ("a.nii.gz", b""),
        "noise": ("a.nii.gz", noise),
        "noise-nrrd": ("a.nrrd", noise),
        "noise-mha": ("a.mha", noise),
        "zip": ("a.zip", zipped()),
        "zip-as-nifti": ("a.nii.gz", zipped()),
        "zip-in-gzip": ("a.nii.gz", gzip.compress(zipped())),
        "gzip-in-gzip": ("a.nii.gz", gzip.compress(gzip.compress(nifti()))),
        "gzip-bomb": ("a.nii.gz", gzip_bomb()),
        "gzip-cut": ("a.nii.gz", gzip.compress(nifti())[:-40]),
        "tar": ("a.tar.gz", gzip.compress(b"../../etc/passwd".ljust(1024, b"\0"))),
        "elf": ("a.nii", b"\x7fELF" + noise),
        "pickle": ("a.pt", pickle.dumps(Shell())),
        "pickle-as-nifti": ("a.nii", pickle.dumps(Shell())),
        "html": ("a.nii.gz", b"<script>alert(1)</script>"),
        "html-name": ("<script>.html", b"<script>alert(1)</script>"),
        "svg": ("a.svg", f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}">]><svg>&x;</svg>'.encode()),
        "xml-as-nrrd": ("a.nrrd", f'<!DOCTYPE a [<!ENTITY x SYSTEM "file://{secret}">]><a>&x;</a>'.encode()),
        "huge": ("a.nii", dims(3, 32767, 32767, 32767)),
        "huge-gzipped": ("a.nii.gz", gzip.compress(dims(3, 32767, 32767, 32767))),
        "huge-seven": ("a.nii", dims(7, *[32767] * 7)),
        "negative": ("a.nii", dims(3, -4, -4, 4)),
        "negative-all": ("a.nii", dims(3, -32768, -32768, -32768)),
        "zero": ("a.nii", dims(3, 0, 4, 4)),
        "no-dims": ("a.nii", dims(0)),
        "many-dims": ("a.nii", dims(99, 4, 4, 4)),
        "minus-dims": ("a.nii", dims(-3, 4, 4, 4)),
        "type-unknown": ("a.nii", nifti(type=(70, "<hh", (9999, 16)))),
        "type-complex": ("a.nii", nifti(type=(70, "<hh", (1792, 128)))),
        "type-rgb": ("a.nii", nifti(type=(70, "<hh", (128, 24)))),
        "offset-negative": ("a.nii", nifti(vox=(108, "<f", (-1e30,)))),
        "offset-nan": ("a.nii", nifti(vox=(108, "<f", (float("nan"),)))),
        "offset-infinite": ("a.nii", nifti(vox=(108, "<f", (float("inf"),)))),
        "offset-huge": ("a.nii", nifti(vox=(108, "<f", (3e9,)))),
        "slope-nan": ("a.nii", nifti(slope=(112, "<ff", (float("nan"), 0)))),
        "affine-nan": ("a.nii", nifti(affine=(280, "<4f", (float("nan"),) * 4))),
        "affine-infinite": ("a.nii", nifti(affine=(280, "<4f", (float("inf"),) * 4))),
        "affine-zero": ("a.nii", nifti(affine=(280, "<12f", (0.0,) * 12))),
        "spacing-huge": ("a.nii", nifti(affine=(280, "<f", (1e30,)))),
        "cut": ("a.nii", nifti(b"")),
        "cut-header": ("a.nii", nifti()[:200]),
        "one-value": ("a.nii", nifti()),
        "nrrd-huge": ("a.nrrd", nrrd("dimension: 3", "sizes: 99999 99999 99999")),
        "nrrd-overflow": ("a.nrrd", nrrd("dimension: 3", "sizes: 4294967297 4294967297 4294967297")),
        "nrrd-negative": ("a.nrrd", nrrd("dimension: 3", "sizes: -4 4 4")),
        "nrrd-dims": ("a.nrrd", nrrd("dimension: 99", "sizes: " + "2 " * 99)),
        "nrrd-gzip-lie": ("a.nrrd", nrrd("dimension: 3", "sizes: 900 900 900", "encoding: gzip")),
        "nrrd-elsewhere": ("a.nrrd", nrrd("dimension: 3", "sizes: 4 4 4", f"data file: {secret}")),
        "nrrd-elsewhere-cr": ("a.nrrd", f"NRRD0004\rtype: short\rdata file: {secret}\r\r".encode()),
        "nrrd-list": ("a.nrrd", nrrd("dimension: 3", "sizes: 4 4 4", f"data file: LIST\n{secret}")),
        "nrrd-pattern": ("a.nrrd", nrrd("dimension: 3", "sizes: 4 4 4", "data file: %s%s%n.raw 1 9 1")),
        "nrrd-no-end": ("a.nrrd", b"NRRD0004\n" + b"# x\n" * 40_000),
        "meta-huge": ("a.mha", meta("99999 99999 99999")),
        "meta-negative": ("a.mha", meta("-4 4 4")),
        "meta-dims": ("a.mha", meta("4 4 4").replace(b"NDims = 3", b"NDims = 9999")),
        "meta-elsewhere": ("a.mha", meta("4 4 4", secret)),
        "meta-elsewhere-late": ("a.mha", meta("4 4 4", secret, "\n\n")),
        "meta-relative": ("a.mha", meta("4 4 4", "../../secret.nii")),
        "dicom-empty": ("a.dcm", bytes(128) + b"DICM"),
        "dicom-noise": ("a.dcm", bytes(128) + b"DICM" + noise),
        "dicom-deflated": ("a.dcm", deflated_dicom()),
        "png-noise": ("a.png", b"\x89PNG\r\n\x1a\n" + noise),
        "png-huge": ("a.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\x7f\xff\xff\xff\x7f\xff\xff\xff\x08\0\0\0\0" + noise),
        "name-nul": ("a\0.nii", nifti()),
        "name-long": ("a." + "b" * 5000, nifti()),
        "name-path": ("../../../escaped.nii", nifti()),
        "name-absolute": ("/tmp/escaped.nii", nifti()),
        "name-none": ("", nifti()),
    }
