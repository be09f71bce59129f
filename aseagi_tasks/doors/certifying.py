"""Commands about completeness certificates: make one, check one, make the key that signs them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aseagi_tasks import services
from aseagi_tasks.doors.showing import escape
from aseagi_tasks.doors.terminal import Json, err, out, print_json
from aseagi_tasks.errors import ConfigError, Differs, NotACertificate, NotFound
from aseagi_tasks.settings import settings

if TYPE_CHECKING:
    from aseagi_tasks.stages.verify import Finding

app = typer.Typer()
_PANEL = "Certificates"


@app.command(rich_help_panel=_PANEL)
def certificate(
    day: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Files handed in on this UTC day; else today.")
    ] = None,
    job: Annotated[list[str] | None, typer.Option(help="These jobs instead, one --job for each.")] = None,
    as_json: Json = False,
) -> None:
    """Write a completeness certificate into the bucket: every file, how it ended, and the SHA-256 of all of it.

    Beat does this every night for the day before. The exit code is 3 if it does not balance.
    """
    from aseagi_tasks.stages.certify import certify, jobs_of_day

    if day and job:
        raise typer.BadParameter("--day and --job do not go together.")
    records, now = services.records(), datetime.now(UTC)
    signing = services.signing_key()  # one that cannot be used is an error before any work
    scope = "run" if job else f"{(day or now).date()}"
    with _counting("certified", None, as_json) as tell:
        made, key = certify(
            [records.job(ident) for ident in job] if job else jobs_of_day(records, (day or now).date()),
            scope,
            records=records,
            storage=services.storage(),
            bucket=settings().bucket,
            key=signing,
            now=now,
            tell=tell,
        )
    exceptions = list(made.exceptions())
    if as_json:
        print_json(
            {
                "key": key,
                "pdf": key.removesuffix("json") + "pdf",
                "totals": made.totals.model_dump(),
                "exceptions": [
                    {"job_id": entry.job_id, "name": entry.name, "outcome": entry.outcome, "why": why}
                    for entry, why in exceptions
                ],
                "hash": made.hash,
                "fingerprint": made.fingerprint,
            }
        )
    else:
        colour, said = ("green", "balances") if made.totals.balanced else ("red", "does not balance")
        out.print(f"[{colour}]{said}[/{colour}]  {made.summary()}", highlight=False, soft_wrap=True)
        for entry, why in exceptions[:20]:
            text = f"{entry.name}  {entry.job_id[:8]}  {entry.outcome}: {why}"
            out.print(f"  {escape(text)}", highlight=False, soft_wrap=True)
        if len(exceptions) > 20:
            out.print(f"  and {len(exceptions) - 20:,} more")
        out.print(f"{key}\n{key.removesuffix('json')}pdf", highlight=False, soft_wrap=True)
        out.print(f"signed with {made.fingerprint}" if made.fingerprint else "[dim]not signed[/dim]", highlight=False)
    if not made.totals.balanced:
        raise typer.Exit(Differs.exit_code)


@app.command(rich_help_panel=_PANEL)
def verify(
    cert: Annotated[str, typer.Argument(metavar="CERT", help="A certificate's JSON: a file, or its key.")],
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="PUBLIC", help="It must be signed with this: file or fingerprint."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a certificate (chain, signature, balance), then every file in the bucket against it. Exit code 3: differs.

    A set that a later job has replaced is told as reprocessed, an original with another key now as moved; neither is a
    difference.
    """
    from aseagi_tasks.reports.certificate import faults, read
    from aseagi_tasks.stages.verify import NO_FAULTS
    from aseagi_tasks.stages.verify import verify as compare
    from aseagi_tasks.stores.signing_key import fingerprint_of

    insist_on = fingerprint_of(key) if key else None
    path = Path(cert)
    if path.suffix.lower() == ".pdf":
        raise NotACertificate(cert, "the page is for people; what is checked is the JSON beside it")
    held = read(_body(path, cert), cert)
    if held.bucket != settings().bucket:
        said = f"is {settings().bucket!r}, and the certificate is of bucket {held.bucket!r}."
        raise ConfigError("ASEAGI_BUCKET", said, f"Set it to {held.bucket}, with the storage that has it.")
    wrong = faults(held, insist_on)
    with _counting("checked", len(held.entries), as_json) as tell:
        found = compare(
            held, storage=services.storage(), records=services.records(), scratch=settings().scratch_root, tell=tell
        )
    count = len(wrong) + sum(finding.kind not in NO_FAULTS for finding in found)
    if as_json:
        print_json(
            {
                "holds": not count,
                "fingerprint": held.fingerprint,
                "signature_insisted_on": insist_on,
                "totals": held.totals.model_dump(),
                "certificate": wrong,
                "files": [finding._asdict() for finding in found],
            }
        )
    else:
        for sentence in wrong:
            out.print(f"[red]certificate[/red]  {escape(sentence)}", highlight=False, soft_wrap=True)
        for finding in found:
            colour = "yellow" if finding.kind in NO_FAULTS else "red"
            text = f"{finding.key}  ({finding.name}, job {finding.job_id}) {finding.detail}".rstrip()
            out.print(f"[{colour}]{finding.kind:11}[/{colour}]  {escape(text)}", highlight=False, soft_wrap=True)
        out.print(held.summary(), highlight=False, soft_wrap=True)
        trust = "" if insist_on else " (whose key that is, --key can insist on)"
        signed = f"signed with {held.fingerprint}{trust}" if held.fingerprint else "not signed"
        out.print(signed, highlight=False, soft_wrap=True)
    if count:
        raise Differs(cert, count)
    if not as_json:
        out.print("[green]holds[/green]: every file is as certified" + _since(found), highlight=False)


@app.command(rich_help_panel=_PANEL)
def make_key(
    path: Annotated[Path, typer.Argument(help="Where to; its public half goes beside it, with .pub added.")],
    as_json: Json = False,
) -> None:
    """Make the key that signs certificates (ASEAGI_SIGNING_KEY_FILE). Keep it; give PATH.pub to whoever verifies."""
    from aseagi_tasks.stores.signing_key import make_key as make

    fingerprint = make(path)
    if as_json:
        print_json({"key": str(path), "public": f"{path}.pub", "fingerprint": fingerprint})
    else:
        out.print(f"{path}\n{path}.pub\nfingerprint {fingerprint}", highlight=False, soft_wrap=True)
        out.print(f"Set ASEAGI_SIGNING_KEY_FILE={path.absolute()}", highlight=False, soft_wrap=True)


def _body(path: Path, cert: str) -> bytes:
    if path.is_file():
        return path.read_bytes()
    try:
        return services.storage().get(cert)
    except NotFound:
        raise NotFound(cert, "this machine's files or the bucket") from None


def _since(found: Sequence[Finding]) -> str:
    moved = sum(finding.kind == "moved" for finding in found)
    said = {"sets were reprocessed": len(found) - moved, "originals were moved": moved}
    return "".join(f"; {count} {what} since" for what, count in said.items() if count)


@contextlib.contextmanager
def _counting(what: str, total: int | None, as_json: bool) -> Iterator[Callable[[int], None]]:
    """A bar that counts files while a terminal shows it."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=err, disable=as_json, transient=True) as shown:
        task = shown.add_task(what, total=total)
        yield lambda done: shown.update(task, completed=done)
