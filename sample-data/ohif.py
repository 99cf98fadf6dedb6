"""Serve the airway app with a local Orthanc that has the sample study, for the OHIF viewer of MONAI Label."""

import argparse
import signal
import sys
from pathlib import Path
from typing import NoReturn

from archive import NoArchive, ct_series, orthanc

from lib.server.serve import CannotServe, serve

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--app", type=Path, default=HERE.parent / "apps" / "airway")
    parser.add_argument("--studies", type=Path, default=HERE / "studies", help="folder of NIfTI CTs to load")
    parser.add_argument(
        "--folder",
        type=Path,
        default=HERE.parent / "build" / "orthanc",
        help="folder of Orthanc's storage, settings and log",
    )
    parser.add_argument("--archive-port", type=int, default=8042, help="port of Orthanc")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    # Without this handler, SIGTERM would end this process and leave Orthanc running.
    signal.signal(signal.SIGTERM, end)
    try:
        with orthanc(arguments.folder, arguments.archive_port) as archive:
            for image in sorted(arguments.studies.glob("*.nii.gz")):
                print(f"loading {image.name} as DICOM into {archive.dicomweb} ...", flush=True)
                archive.store(ct_series(image, image.name.split(".")[0]))
            serve(arguments.app, archive.dicomweb, arguments.host, arguments.port)
    except (NoArchive, CannotServe) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


def end(number: int, _: object) -> NoReturn:
    """Raise `SystemExit`, so that the server and Orthanc are closed."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
