"""A rented machine without a tunnel: the canary, then workers. ``python -m aseagi_tasks.doors.rented``.

One that comes by enrolment is ``fleet.instance``, and takes the canary from here.

The addresses of Redis, storage and records come with its environment, and its name: ``ASEAGI_INSTANCE``. The provider
starts a container again when it ends; one that was told to leave, or that failed its canary, then starts no worker and
waits for its end.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aseagi_tasks import services
from aseagi_tasks.fleet.groups import groups
from aseagi_tasks.fleet.worker import CANARY, CANARY_DPI, CANARY_PAGES, Presence, judge
from aseagi_tasks.settings import settings

#: Somebody who has nothing to do looks this often whether that has changed.
LOOK_S = 5.0


def main() -> int:
    """Run until told to stop, or until a worker ends; the exit code of what ended."""
    instance_id = settings().instance
    if instance_id is None:
        sys.stderr.write("ASEAGI_INSTANCE: is not set. It is the name under which this machine was rented.\n")
        return 5
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: stop.set())
    presence = Presence(services.redis())
    if presence.is_to_leave(instance_id):
        presence.say(instance_id, step="left")
        return _wait(stop)
    before = presence.hear([instance_id]).get(instance_id)
    if before is not None and before.step == "working":  # its workers have ended; the machine is known
        why = ""
    else:
        presence.say(instance_id, step="canary")
        why = _pass_canary(presence, instance_id)
    if why:
        presence.say(instance_id, step="failed", why=why)
        return _wait(stop)
    commands = worker_commands(instance_id)
    presence.say(instance_id, step="working", nodes=sorted(commands))
    return _work(commands, stop)


def worker_commands(instance_id: str) -> dict[str, list[str]]:
    """Node name → command: readers, analysts, and where a model reads lines one process that owns it."""
    conf, celery = settings(), [sys.executable, "-m", "celery", "-A", "aseagi_tasks"]
    made = groups(
        owns_model=services.ocr_engine()[0] != "tesseract",
        cpu_workers=conf.cpu_workers,
        ocr_threads=conf.ocr_threads,
        claude_threads=conf.claude_threads,
        queues=conf.fleet_queues,
    )
    nodes = {f"{name}@{instance_id}": group for name, group in made.items()}
    return {node: [*celery, *group.arguments(node, conf.log_level)] for node, group in nodes.items()}


def _pass_canary(presence: Presence, instance_id: str) -> str:
    """Read the known pages in a process of its own (a model's memory is free afterwards); what speaks against it."""
    command, limit_s = [sys.executable, "-m", "aseagi_tasks.doors.rented", "canary"], settings().fleet_join_s
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return f"the canary took longer than {limit_s:.0f} s"
    if ran.returncode:
        return f"the canary ended with {ran.returncode}: {ran.stderr.strip()[-400:]}"
    found = json.loads(ran.stdout)
    presence.say(instance_id, canary=found)
    return judge(found["text"], found["seconds_per_page"], slowest_s=settings().fleet_slowest_s_per_page)


def canary() -> dict[str, Any]:
    """Read the known pages as this machine will read documents, as many at a time.

    Returns:
        ``seconds_per_page`` of the whole machine, ``text`` of one reading, ``engine``.
    """
    from PIL import Image

    from aseagi_tasks.documents import Page

    conf, recognizer = settings(), services.recognizer()
    owns_model = services.ocr_engine()[0] != "tesseract"
    at_once = conf.ocr_threads if owns_model else conf.cpu_workers
    with TemporaryDirectory() as folder:
        pages = []
        for number, name in enumerate(CANARY_PAGES, 1):
            path = Path(folder) / f"{number}.pgm"
            with Image.open(CANARY / name) as image:
                image.convert("L").save(path)
                size = image.size
            pages.append((Page(number=number, width_px=size[0], height_px=size[1], dpi=CANARY_DPI), path))

        def read(_turn: int) -> str:
            return "\n".join(recognizer.read(page, path).text for page, path in pages)

        recognizer.read(*pages[1])  # loads the model, which the machine does once
        began = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            texts = list(pool.map(read, range(at_once)))
        seconds = time.monotonic() - began
    return {"seconds_per_page": seconds / (at_once * len(pages)), "text": texts[0], "engine": recognizer.engine}


def _work(commands: dict[str, list[str]], stop: threading.Event) -> int:
    """Run the workers; when one ends, or we are told to stop, all are stopped."""
    environment = {**os.environ, "OMP_THREAD_LIMIT": "1"}
    children = [subprocess.Popen(command, env=environment) for command in commands.values()]
    while not stop.wait(0.5) and all(child.poll() is None for child in children):
        pass
    for child in children:
        if child.poll() is None:
            child.terminate()
    deadline = time.monotonic() + settings().drain_s + 15
    for child in children:
        try:
            child.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
    return max((child.returncode or 0 for child in children), default=0)


def _wait(stop: threading.Event) -> int:
    while not stop.wait(LOOK_S):
        pass
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == ["canary"]:
        sys.stdout.write(json.dumps(canary()))
        sys.exit(0)
    sys.exit(main())
