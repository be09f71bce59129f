"""Whether a rented machine works: ``python -m aseagi_tasks.fleet.health``, which is the image's healthcheck.

Prints one line of JSON and exits with 1 if anything is wrong. It asks the things themselves: a PING through the
tunnel with this machine's own login, the driver for each GPU, and each worker process' own loop.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

from redis import Redis, RedisError

from aseagi_tasks.fleet.enrolment import Credentials
from aseagi_tasks.fleet.marks import Marks
from aseagi_tasks.settings import settings

#: Workers say every 2 s that they consume.
SILENT_S = 60.0
GPU_DEVICE = Path("/dev/nvidiactl")


def health(folder: Path, now: float) -> dict[str, str]:
    """What was looked at → ``ok``, or what is wrong with it.

    Args:
        folder: of the instance.
        now: seconds since the epoch.
    """
    found = {"tunnel and broker": _broker(folder), "gpu": _gpu()}
    marks = Marks(folder)
    names = sorted(path.name for path in (marks.folder / "consumes").glob("*"))
    for name in names:
        silent_s = now - marks.consumed(name)
        found[name] = "ok" if silent_s < SILENT_S else f"has not consumed for {silent_s:.0f} s"
    if not names:
        found["workers"] = "none has joined"
    if (why := marks.asked()) is not None:
        found["machine"] = f"leaves: {why}"
    return found


def _broker(folder: Path) -> str:
    try:
        address = Credentials(folder).broker_url.read_text()
        Redis.from_url(address, socket_timeout=5, socket_connect_timeout=5).ping()
    except OSError:
        return "this machine is not enrolled"
    except RedisError as exc:
        return f"no answer: {exc}"
    return "ok"


def _gpu() -> str:
    """A GPU that fell off the bus is still listed; asking for its memory fails then."""
    if not GPU_DEVICE.exists():
        return "ok"  # a machine without one reads with Tesseract
    program = shutil.which("nvidia-smi")
    if program is None:
        return "there is a device and no driver"
    try:
        ran = subprocess.run(
            [program, "--query-gpu=memory.total,memory.free", "--format=csv,noheader,nounits"],
            capture_output=True, text=True, timeout=15,
        )  # fmt: skip
        numbers = [int(number) for line in ran.stdout.splitlines() for number in line.split(",")]
    except (subprocess.TimeoutExpired, ValueError) as exc:
        return f"does not answer: {exc}"
    return "ok" if ran.returncode == 0 and numbers else f"does not answer: {(ran.stderr or ran.stdout).strip()[:200]}"


def main() -> None:
    """Print and exit."""
    folder = settings().instance_folder
    found = health(folder, time.time()) if folder else {"machine": "ASEAGI_INSTANCE_FOLDER is not set"}
    print(json.dumps(found))
    sys.exit(any(what != "ok" for what in found.values()))


if __name__ == "__main__":
    main()
