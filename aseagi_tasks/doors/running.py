"""Commands that run the stack of this machine: ``up``, ``down``, and ``process``, which starts one if none runs."""

from __future__ import annotations

import contextlib
import getpass
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from aseagi_tasks import services
from aseagi_tasks.documents import Priority
from aseagi_tasks.doors import showing
from aseagi_tasks.doors.following import Item, find, follow, hand_in
from aseagi_tasks.doors.stack import Stack
from aseagi_tasks.doors.terminal import Engine, Json, Level, err, out, print_json
from aseagi_tasks.errors import AseagiError
from aseagi_tasks.settings import settings

#: Signals within so many seconds are one.
_ONE_S = 1.0
Again = Annotated[bool, typer.Option("--again", help="Do the work even where the result is known.")]


def up(
    paths: Annotated[list[Path] | None, typer.Argument(help="Documents and folders to process once it runs.")] = None,
    profile: Annotated[
        Literal["embedded", "droplet"] | None,
        typer.Option(help="droplet: the control plane behind nginx and the tunnel, no workers. Default: as set."),
    ] = None,
) -> None:
    """Run the stack here until Ctrl-C: redis, workers, beat and the monitor.

    Ctrl-C lets what runs finish (ASEAGI_DRAIN_S seconds at most), gives back the rest, and stops every process.
    """
    if profile is not None:
        os.environ["ASEAGI_PROFILE"] = profile
        settings.cache_clear()
    conf, files = settings(), list(find(paths or ()))
    stack = Stack(conf)
    with _signals() as interrupted:
        try:
            began = time.monotonic()
            stack.start(lambda text: err.print(f"[dim]{text}…[/dim]"))
            err.print(f"[dim]up in {time.monotonic() - began:.1f} s[/dim]")
            watch = _watcher(stack)
            if files:
                _process(files, "normal", again=False, as_json=False, each_turn=watch)
            where = (
                conf.home / conf.bucket / "processed" if conf.storage == "folder" else f"s3://{conf.bucket}/processed"
            )
            out.print(f"\nResults  {where}", highlight=False, soft_wrap=True)
            if conf.profile == "droplet":
                port = "" if conf.https_port == 443 else f":{conf.https_port}"
                out.print(f"Monitor  https://{conf.public_name}{port}", highlight=False)
                out.print(f"Tunnel   {conf.public_name}:{conf.tunnel_public_port}", highlight=False)
            else:
                out.print(f"Monitor  http://{conf.monitor_address}:{conf.monitor_port}", highlight=False)
            out.print("Try      aseagi search WORDS · aseagi show ID · aseagi process FILE   (Ctrl-C stops everything)")
            while not interrupted.is_set() and stack.pid is not None:
                watch()
                interrupted.wait(1)
            if not interrupted.is_set():  # an interrupt inside a call to the supervisor looks like its end
                raise AseagiError("The stack has stopped.")
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            err.print("\n[dim]stopping: what runs may finish…[/dim]")
        finally:
            if stack.is_ours:
                _stop(stack)
    err.print("[dim]stopped[/dim]")


def down() -> None:
    """Stop the stack that runs here, as Ctrl-C in its own terminal would."""
    stack = Stack(settings())
    if stack.pid is None:
        err.print("No stack is running.")
        return
    stack.stop()
    err.print("stopped")


def process(
    paths: Annotated[list[Path], typer.Argument(help="Files, and folders that are searched for documents.")],
    priority: Level = "normal",
    ocr: Engine = None,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Process documents and show what was found. Starts the stack for as long as it takes, if none runs."""
    services.ocr_engine(ocr)
    conf, files = settings(), list(find(paths))
    stack = Stack(conf, monitor=False)
    own = conf.broker_url is None and conf.profile == "embedded" and stack.pid is None
    with _signals():
        try:
            if own:
                stack.start(lambda text: err.print(f"[dim]{text}…[/dim]"))
            code = _process(files, priority, again, as_json, _watcher(stack) if own else lambda: None, ocr)
        finally:
            if stack.is_ours:
                _stop(stack)
    raise typer.Exit(code)


def _process(
    files: Sequence[Path], priority: Priority, again: bool, as_json: bool, each_turn: Any, ocr: str | None = None
) -> int:
    """Hand in, follow, show; the exit code is that of the worst error."""
    items = [Item(path) for path in files]
    err.print(f"[dim]taking in {len(items)} file{'s' if len(items) != 1 else ''}…[/dim]")
    for _ in hand_in(items, priority=priority, requested_by=getpass.getuser(), again=again, ocr_engine=ocr):
        each_turn()
    follow(items, None if as_json else err, each_turn)
    if as_json:
        print_json([item.as_json() for item in items])
    else:
        out.print(showing.found(items))
    return max(item.exit_code for item in items)


def _stop(stack: Stack) -> None:
    """Stop it, and hear nothing meanwhile: whoever presses Ctrl-C again would leave it running."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    stack.stop()


def _watcher(stack: Any) -> Any:
    """Says what happens to the stack's processes; called often, looks once a second."""
    state: dict[str, Any] = {"children": {child.name: child for child in stack.children()}, "at": 0.0}

    def watch() -> None:
        if time.monotonic() - state["at"] > 1:
            state["children"], news = stack.watch(state["children"])
            state["at"] = time.monotonic()
            for sentence in news:
                err.print(f"[yellow]{sentence}[/yellow]", highlight=False, soft_wrap=True)

    return watch


@contextlib.contextmanager
def _signals() -> Iterator[threading.Event]:
    """SIGTERM stops as Ctrl-C does; the event says that one of them came, wherever the exception ended up.

    One that follows within a second is the same: `make run` hands on what the terminal has sent already.
    """
    interrupted, last = threading.Event(), float("-inf")

    def interrupt(*_args: Any) -> None:
        nonlocal last
        since, last = time.monotonic() - last, time.monotonic()
        interrupted.set()
        if since >= _ONE_S:
            raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
