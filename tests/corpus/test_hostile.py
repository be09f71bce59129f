"""Empty, truncated, enormous and odd PDFs end as pages or as a typed error, in bounded time and memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.corpus

#: What each comes to: sources of its pages, or the error; "read" pages go on to recognition.
ENDS: dict[str, str] = {
    "2400dpi.pdf": "read",
    "empty.pdf": "NotADocument",
    "enormous.pdf": "read",  # 9,000 x 9,000 pixels
    "hugemono.pdf": "read",  # 35,000 x 35,000 pixels
    "invalid.pdf": "Unreadable",
    "negzero.pdf": "text-layer",
    "no_contents.pdf": "blank",
    "trivial.pdf": "blank",
}

#: Runs in a process of its own, so that its memory and its children's can be measured.
PROGRAM = """
import json, re, resource, sys, time
from pathlib import Path
from aseagi_tasks.errors import DocumentError
from aseagi_tasks.stages.fetch import identify
from aseagi_tasks.stages.rasterize import rasterize

path, scratch = map(Path, sys.argv[1:])
begun, pixels = time.monotonic(), 0
try:
    reading = rasterize(
        path, path.name, identify(path, path.name), scratch,
        dpi=300, max_pages=2000, max_page_pixels=40_000_000, timeout_s=120,
    )
    end = " ".join(page.source or "read" for page in reading.pages)
    pixels = max(page.width_px * page.height_px for page in reading.pages)
except DocumentError as exc:
    end = type(exc).__name__
    assert path.name in str(exc)
# not RUSAGE_SELF: that also counts the process that started this one
own = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
renderer = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([end, time.monotonic() - begun, own, renderer, pixels]))
"""


def test_every_file_is_in_the_table(corpus: Path) -> None:
    assert {path.name for path in (corpus / "hostile").iterdir()} == set(ENDS)


@pytest.mark.parametrize("name", ENDS)
def test_it_ends_within_bounds(name: str, corpus: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(corpus / "hostile" / name), str(tmp_path)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True, timeout=250)
    end, seconds, own_kb, renderer_kb, pixels = json.loads(ran.stdout)
    assert end == ENDS[name]
    assert seconds < 60  # 5 at most on a quiet machine (hugemono.pdf)
    assert own_kb < 1_000_000
    assert renderer_kb < 1_000_000  # 384 MB at most (hugemono.pdf)
    assert pixels <= 40_000_000
    assert [path for path in tmp_path.iterdir() if path.name not in ("pages", "thumbnail.jpg")] == []
