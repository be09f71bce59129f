#!/bin/sh
# The checkpoint, as a GPU uses it. Runs in a stage of its own, so that no other layer depends on it.
#   weights.sh MODEL FOLDER
set -eu
HF_HOME=/tmp/hub /opt/venv/bin/python "$(dirname "$0")/weights.py" "$1" "$2"
rm -rf /tmp/hub
