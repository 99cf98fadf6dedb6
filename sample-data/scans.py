"""Build the sample scan of the scintigraphy app: a real bone scan from a package, thinned to half of its counts."""

import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

FRACTION, SEED = 0.5, 7


def main() -> None:
    """Write the scan into ``scans/`` if it does not exist."""
    from lib.data.scintigraphy.counts import read_counts
    from lib.data.scintigraphy.derived import write_derived
    from lib.data.scintigraphy.sample import bone_scan
    from lib.data.scintigraphy.thinning import thin

    target = HERE / "scans" / "bone_scan_half.dcm"
    if not target.exists():
        source = bone_scan()
        target.parent.mkdir(exist_ok=True)
        rapid, _ = thin(read_counts(source).counts, FRACTION, np.random.default_rng(SEED))
        notice = "THINNED SCAN: half of the recorded counts, drawn at random, as in a scan of half the duration."
        write_derived(
            source,
            rapid,
            target,
            description=f"Binomial thinning to {FRACTION:g} of the counts, seed {SEED}",
            software="sample-data",
            notice=notice,
            process="thinned",
        )
    print(f"Sample scan: {target} (a real bone scan, thinned to half of its counts)")


if __name__ == "__main__":
    main()
