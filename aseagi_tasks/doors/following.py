"""Handing files in and following their jobs to the end, with a live picture of where each one is."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from aseagi_tasks import services
from aseagi_tasks.documents import EXTENSIONS, FINAL, STAGES, Priority
from aseagi_tasks.errors import AseagiError, NotFound, RecordsUnavailable, by_name
from aseagi_tasks.stores.records import Job

#: Folders are searched for these; a file that is named itself is tried whatever its name.
SUFFIXES = {f".{extension}" for extension in EXTENSIONS.values()} | {".jpeg", ".tiff", ".heic", ".heif"}


@dataclass
class Item:
    """One file that was asked for: its job, or why it has none."""

    path: Path
    job_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    error: AseagiError | None = None
    job: Job | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.error is not None or (self.job is not None and self.job.status in FINAL)

    @property
    def exit_code(self) -> int:
        """0, or the code of the error's class."""
        if self.error is not None:
            return self.error.exit_code
        if self.job is None or self.job.status == "completed":
            return 0
        return by_name(self.job.error_class or "Cancelled").exit_code

    def as_json(self) -> dict[str, Any]:
        """The result, or status and error, as JSON values."""
        if self.result is not None:
            return {"file": str(self.path), **self.result}
        if self.error is not None:
            return {
                "file": str(self.path),
                "status": "error",
                "error_class": type(self.error).__name__,
                "error_message": str(self.error),
            }
        assert self.job is not None
        return {"file": str(self.path), **self.job.model_dump(mode="json")}


def find(paths: Iterable[Path]) -> Iterator[Path]:
    """Files as named, and documents below folders, in order; hidden ones are passed over.

    Raises:
        NotFound: a path does not exist, or a folder holds no document.
    """
    for path in paths:
        if path.is_dir():
            below = sorted(
                file
                for file in path.rglob("*")
                if file.suffix.lower() in SUFFIXES
                and file.is_file()
                and not any(part.startswith(".") for part in file.relative_to(path).parts)
            )
            if not below:
                raise NotFound(f"A document (PDF, JPG, PNG, TIFF, HEIC) in {path}", "that folder")
            yield from below
        elif path.exists():
            yield path
        else:
            raise NotFound(str(path), "this machine's files")


def hand_in(
    items: Sequence[Item], *, priority: Priority, requested_by: str, again: bool, ocr_engine: str | None
) -> Iterator[Item]:
    """Take each file in and queue it; one that is refused carries its error."""
    from aseagi_tasks.tasks import submit

    for item in items:
        try:
            submit(
                item.path,
                priority=priority,
                requested_by=requested_by,
                job_id=item.job_id,
                again=again,
                ocr_engine=ocr_engine,
            )
        except AseagiError as exc:
            item.error = exc
        yield item


def follow(items: Sequence[Item], console: Console | None, each_turn: Callable[[], None] = lambda: None) -> None:
    """Wait until every job has ended, showing where each one is.

    Args:
        items: handed in.
        console: where the picture is drawn; None draws none. A console that is no terminal gets a line per end.
        each_turn: called a few times a second, to watch the stack for instance.
    """
    waiting = [item for item in items if not item.ended]
    if console is not None and console.is_terminal:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            _until_ended(waiting, each_turn, lambda: live.update(_picture(items)))
    else:
        _until_ended(waiting, each_turn, lambda: None, console)


def _until_ended(
    waiting: list[Item], each_turn: Callable[[], None], draw: Callable[[], None], lines: Console | None = None
) -> None:
    from aseagi_tasks.celery import app
    from aseagi_tasks.stages.record import result

    records, away = services.records(), False
    pause = 0.02

    def look(item: Item) -> None:
        item.job = records.job(item.job_id)
        if item.job.status in FINAL:
            if item.job.status == "completed":
                document = records.document(item.job.document_id or "")
                item.result = result(item.job_id, document, services.storage())
            waiting.remove(item)
            if lines is not None:
                lines.print(f"{item.path.name}: {item.job.status}")
        elif item.job.status == "processing":
            info = app.AsyncResult(item.job_id).info
            item.progress = info if isinstance(info, dict) else {}

    while waiting:
        try:
            for item in list(waiting):
                look(item)
            away = False
        except RecordsUnavailable as exc:  # the work goes on without us, and waits where it needs them
            if not away and lines is not None:
                lines.print(f"[yellow]{exc}[/yellow] Waiting…", highlight=False, soft_wrap=True)
            away = True
        each_turn()
        draw()
        time.sleep(pause)
        pause = min(0.25, pause * 1.5)


def _picture(items: Sequence[Item]) -> Table:
    """The files at work, then counts. At most a screenful."""
    ended = sum(item.ended for item in items)
    running = [item for item in items if item.job is not None and item.job.status == "processing"]
    table = Table(box=None, pad_edge=False, show_header=False)
    for item in running[:20]:
        table.add_row(item.path.name, _stages(item))
    waiting = len(items) - ended - len(running)
    table.add_row(f"[bold]{ended} of {len(items)} done[/bold]", f"{waiting} waiting" if waiting else "")
    return table


def _stages(item: Item) -> str:
    """`fetch › rasterize › ocr 3/12`: what is done dim, what runs bright."""
    stage = item.job.stage if item.job else None
    at = STAGES.index(stage) if stage else 0
    pages = ""
    if item.progress.get("stage") == stage and item.progress.get("total"):
        pages = f" {item.progress['done']}/{item.progress['total']}"
    words = [f"[dim]{name}[/dim]" for name in STAGES[:at]] + [f"[cyan]{STAGES[at]}{pages}[/cyan]"]
    return " › ".join(words)
