"""How the queues are shared out among worker processes, on this machine and on rented ones."""

from __future__ import annotations

from typing import NamedTuple


class Group(NamedTuple):
    """One worker process with its children or threads."""

    queues: str
    pool: str
    concurrency: int

    def arguments(self, node: str, log_level: str) -> list[str]:
        """What follows ``celery -A aseagi_tasks``.

        Args:
            node: the worker's name, as ``reading@%h``.
        """
        size = ["-P", self.pool, "-c", str(self.concurrency)]
        level = ["--loglevel", log_level, "--without-gossip", "--without-mingle"]
        return ["worker", *level, "-n", node, "-Q", self.queues, *size]


def groups(
    *,
    owns_model: bool,
    cpu_workers: int,
    ocr_threads: int,
    claude_threads: int,
    queues: frozenset[str] = frozenset(("cpu", "gpu", "claude")),
) -> dict[str, Group]:
    """Name → group, of those that work on documents.

    Args:
        owns_model: one process has a model for lines, and documents are its threads.
        cpu_workers: processes that read pages.
        ocr_threads: documents whose lines are read together.
        claude_threads: documents that wait for analysis at a time.
        queues: those that are read; a group without any is left out.
    """
    made = {
        "reading": (("cpu",) if owns_model else ("cpu", "gpu"), "prefork", cpu_workers),
        "analysis": (("claude",), "threads", claude_threads),
        "lines": (("gpu",) if owns_model else (), "threads", ocr_threads),
    }
    return {
        name: Group(",".join(read), pool, size)
        for name, (wanted, pool, size) in made.items()
        if (read := [queue for queue in wanted if queue in queues])
    }
