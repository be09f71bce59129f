#!/bin/sh
# PyTorch and CUDA: the largest layer. Changes when PyTorch's pin does.
#   torch.sh LIST
set -eu
/opt/venv/bin/pip install -q --no-cache-dir --no-compile --no-deps --disable-pip-version-check -r "$1"
site=$(/opt/venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
# Headers and tools to build extensions with; a second copy of NVRTC that only a variable selects; the dense solvers,
# which nothing here calls and which want cuSOLVER: 250 MB
rm -rf "$site/torch/include" "$site/torch/bin" "$site/torch/share"
find "$site" \( -name 'libnvrtc.alt.so*' -o -name 'libtorch_cuda_linalg.so' -o -name '*.a' \) -delete
