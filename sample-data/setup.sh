#!/bin/sh
# Create or reuse the virtual environment ($VENV); install the dependencies only if requirements.txt has changed.
set -eu
VENV="${VENV:-.venv}"
PYTHON="${PYTHON:-python3}"
stamp="$VENV/.requirements.sha256"
wanted=$(sha256sum requirements.txt | cut -d' ' -f1)
[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && exit 0

"$PYTHON" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || {
    echo "TopoLabel needs Python 3.11, but $PYTHON is $("$PYTHON" --version 2>&1). Set PYTHON=/path/to/python3.11." >&2
    exit 1
}
free_mib=$(df -Pm . | awk 'NR == 2 { print $4 }')
[ "$free_mib" -gt 12000 ] || echo "Only $free_mib MiB are free; the dependencies need about 9,000 MiB." >&2
echo "Installing the dependencies into $VENV (once; a few minutes, about 9 GB) ..."
[ -x "$VENV/bin/python" ] || "$PYTHON" -m venv "$VENV"
"$VENV/bin/python" -m pip install --quiet --disable-pip-version-check --requirement requirements.txt
# The native kernels need a compiler; without a compiler, slower PyTorch code replaces them.
command -v g++ > /dev/null || { [ "$(id -u)" = 0 ] && apt-get install --yes -qq g++ > /dev/null 2>&1; } ||
    echo "g++ is not installed. For fast kernels, run as root: apt-get install g++" >&2
"$VENV/bin/python" -c "from lib.ops.native.build import library; library()"
echo "$wanted" > "$stamp"
