"""What our tasks cost beside plain Celery, and what a queued document costs in Redis.

    python benchmarks/overhead.py [--documents 400] [--queued 100000]

A chain of six stages that do nothing goes through our tasks (deliveries counted, events written, progress reported)
and, turn by turn in the same worker processes, a plain Celery chain of six tasks that do nothing. Then documents are
queued with no worker running: seconds, and how many of them take room in Redis.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROUNDS = 5


def worker() -> None:
    """Run a worker whose stages do nothing, and the plain tasks beside them."""
    from aseagi_tasks import tasks
    from aseagi_tasks.celery import app
    from aseagi_tasks.documents import STAGES

    assert tasks.app is app
    plain_tasks(app)
    for stage in STAGES:
        app.tasks[f"aseagi.{stage}"].work = staticmethod(nothing)
    arguments = ["worker", "-Q", "cpu,gpu,claude,control", "-P", "prefork", "-c", "2", "--loglevel", "WARNING"]
    app.worker_main([*arguments, "--without-gossip", "--without-mingle"])


def nothing(self: object, place: object, job: object) -> None:
    """A stage without work."""


def plain_tasks(app) -> list:  # type: ignore[no-untyped-def,type-arg]
    """Six tasks as anybody would write them."""

    def plain(value: str) -> str:
        return value

    return [app.task(plain, name=f"aseagi.control.plain{n}", ignore_result=n < 5, queue="cpu") for n in range(6)]


def register(count: int) -> list[str]:
    """Documents and jobs in the records, as intake leaves them."""
    from aseagi_tasks import services
    from aseagi_tasks.documents import Source

    ids = []
    for _ in range(count):
        job_id = str(uuid.uuid4())
        sha256 = hashlib.sha256(job_id.encode()).hexdigest()
        key = f"raw/2026/11/23/{sha256[:16]}.pdf"
        services.records().register_job(job_id, key, "normal", "bench")
        source = Source(key=key, name="bench.pdf", sha256=sha256, bytes=1, media_type="application/pdf")
        services.records().register_document(job_id, source, datetime.now(UTC))
        services.records().put_off(job_id, 3600)  # sent from here: nobody else is to let it in
        ids.append(job_id)
    return ids


def ours(ids: list[str]) -> float:
    """Seconds for our chain on each of the jobs."""
    from aseagi_tasks import services
    from aseagi_tasks.tasks import the_chain

    began = time.perf_counter()
    results = [the_chain(job_id, "normal").apply_async() for job_id in ids]
    for result in results:
        result.get(timeout=300)
    seconds = time.perf_counter() - began
    for job_id in ids:
        services.records().cancel(job_id)  # they have come to no end
    return seconds


def plain(tasks: list, count: int) -> float:  # type: ignore[type-arg]
    """Seconds for as many plain chains."""
    from celery import chain

    began = time.perf_counter()
    results = [chain(tasks[0].s("x"), *(task.s() for task in tasks[1:])).apply_async() for _ in range(count)]
    for result in results:
        result.get(timeout=300)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=400, help="chains in each of the rounds")
    parser.add_argument("--queued", type=int, default=100_000, help="documents queued with no worker running")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        return worker()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        os.environ["ASEAGI_HOME"] = folder
        from aseagi_tasks.doors.stack import redis_configuration
        from aseagi_tasks.settings import settings

        socket, conf = settings().redis_socket, Path(folder) / "redis.conf"
        for made in (socket.parent, Path(folder) / "redis"):
            made.mkdir()
        conf.write_text(redis_configuration(settings()))
        redis = subprocess.Popen(["redis-server", str(conf)], stdout=subprocess.DEVNULL)
        try:
            wait_for(socket)
            chains(arguments.documents)
            queued(arguments.queued, socket)
        finally:
            from aseagi_tasks.celery import app

            app.backend.result_consumer._pubsub = None  # results held here would look for the redis that is gone
            redis.terminate()
            redis.wait()


def wait_for(socket: Path) -> None:
    while not socket.exists():
        time.sleep(0.05)


def chains(documents: int) -> None:
    """The two chains, turn by turn."""
    from aseagi_tasks import tasks
    from aseagi_tasks.celery import app

    assert tasks.app is app
    mine = plain_tasks(app)
    process = subprocess.Popen([sys.executable, __file__, "--worker"], stdout=subprocess.DEVNULL, cwd=ROOT)
    try:
        while not app.control.ping(timeout=0.5, limit=1):
            assert process.poll() is None, "the worker ended"
        ours(register(20)), plain(mine, 20)  # warm
        rounds = [(ours(register(documents)), plain(mine, documents)) for _ in range(ROUNDS)]
    finally:
        process.terminate()
        process.wait()
    a, b = (statistics.median(column) / documents * 1000 for column in zip(*rounds, strict=True))
    ratios = [x / y for x, y in rounds]
    print(f"chain of six no-ops, {documents} documents, {ROUNDS} rounds, 2 processes")
    print(f"  ours   {a:6.2f} ms per document\n  plain  {b:6.2f} ms per document")
    print(f"  ratio  {statistics.median(ratios):6.2f}   ({min(ratios):.2f}-{max(ratios):.2f}; goal <= 1.1)")


def queued(documents: int, socket: Path) -> None:
    """Queue documents that nobody takes, as doors do behind the copying."""
    import redis

    from aseagi_tasks import services
    from aseagi_tasks.admission import feed

    client = redis.Redis(unix_socket_path=str(socket))
    client.flushall()
    before = client.info("memory")["used_memory_dataset"]
    began = time.perf_counter()
    for number in range(documents):
        services.records().register_job(str(uuid.uuid4()), f"raw/2026/11/23/{number:016x}.pdf", "low", "bench")
        feed()
    seconds = time.perf_counter() - began
    after = client.info("memory")["used_memory_dataset"]
    messages = sum(client.llen(key) for key in client.keys("cpu*"))  # type: ignore[union-attr,misc]
    print(f"{documents:,} documents queued")
    print(f"  {seconds:.1f} s (goal <= 60 s per 100,000), {documents / seconds:,.0f} per second")
    print(f"  {messages} messages, {(after - before) / 1000:,.0f} kB of Redis; the others wait as rows")


if __name__ == "__main__":
    main()
