"""Serve the airway app on an Orthanc of its own with the sample study in it, for the OHIF of MONAI Label."""

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
    parser.add_argument("--folder", type=Path, default=HERE.parent / "build" / "orthanc", help="Orthanc's own folder")
    parser.add_argument("--archive-port", type=int, default=8042, help="where Orthanc listens")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args()
    # Else whoever ends this in another way than by Ctrl+C leaves Orthanc behind.
    signal.signal(signal.SIGTERM, end)
    try:
        with orthanc(asked.folder, asked.archive_port) as archive:
            for image in sorted(asked.studies.glob("*.nii.gz")):
                print(f"loading {image.name} as DICOM into {archive.dicomweb} ...", flush=True)
                archive.store(ct_series(image, image.name.split(".")[0]))
            serve(asked.app, archive.dicomweb, asked.host, asked.port)
    except (NoArchive, CannotServe) as error:
        print(f"{error}", file=sys.stderr)
        return 1
    return 0


def end(number: int, _: object) -> NoReturn:
    """End in order, Orthanc too."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
