#!/bin/sh
# PyTorch and CUDA: the largest layer. Changes when PyTorch's pin does.
#   torch.sh LIST
set -eu
/opt/venv/bin/pip install -q --no-cache-dir --no-compile --no-deps --disable-pip-version-check -r "$1"
site=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# headers and tools to build extensions with, and a second copy of NVRTC that only a variable selects: 190 MB
rm -rf "$site/torch/include" "$site/torch/bin" "$site/torch/share"
find "$site" \( -name 'libnvrtc.alt.so*' -o -name '*.a' \) -delete
