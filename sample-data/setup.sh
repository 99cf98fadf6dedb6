#!/bin/sh
# Make or reuse the virtual environment ($VENV); install again only when requirements.txt changed.
set -eu
VENV="${VENV:-.venv}"
PYTHON="${PYTHON:-python3}"
stamp="$VENV/.requirements.sha256"
wanted=$(sha256sum requirements.txt | cut -d' ' -f1)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

"$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "TopoLabel is pinned for Python 3.11; $PYTHON is $("$PYTHON" --version 2>&1). Set PYTHON=/path/to/python3.11." >&2
    exit 1
}
free_mib=$(df -Pm . | awk 'NR == 2 { print $4 }')
[ "$free_mib" -gt 12000 ] || echo "Only $free_mib MiB free: the dependencies take about 9,000." >&2
echo "Installing the dependencies into $VENV (a few minutes, about 9 GB, once) ..."
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
# The native kernels need a compiler; without one PyTorch does their work, slower.
command -v g++ > /dev/null || { [ "$(id -u)" = 0 ] && apt-get install --yes -qq g++ > /dev/null 2>&1; } ||
    echo "No g++: install it (as root: apt-get install g++) for fast kernels." >&2
"$VENV/bin/python" -c "from lib.ops.native.build import library; library()"
echo "$wanted" > "$stamp"
