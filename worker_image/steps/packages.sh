#!/bin/sh
# The other Python packages. Changes with a pin.
#   packages.sh LIST
# Without .pyc files: of 3,000 modules a worker imports a few hundred, which code.sh compiles.
set -eu
/opt/venv/bin/pip install -q --no-cache-dir --no-compile --no-deps --disable-pip-version-check -r "$1"
site=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
find "$site" -type d -name tests -prune -exec rm -rf {} +
