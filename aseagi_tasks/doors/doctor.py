"""Checks everything that the program leans on, and says the cure of what is wrong."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

from aseagi_tasks import keys, services
from aseagi_tasks.doors.stack import Stack
from aseagi_tasks.errors import AseagiError, ConfigError
from aseagi_tasks.settings import Settings

#: Program → oldest version that is known to do, and the Debian and Homebrew packages that bring it.
PROGRAMS = {
    "redis-server": ((6, 2), "redis-server", "redis"),
    "pdftoppm": ((22, 2), "poppler-utils", "poppler"),
    "pdftotext": ((22, 2), "poppler-utils", "poppler"),
    "tesseract": ((4, 1), "tesseract-ocr tesseract-ocr-eng tesseract-ocr-osd", "tesseract"),
}
FREE_BYTES = 2_000_000_000
#: A night's may be late, two may not.
OLDEST_BACKUP_H = 50


class Check(NamedTuple):
    """One thing that was looked at. ``cure`` is empty where nothing is wrong; ``fatal`` if nothing runs without it."""

    what: str
    found: str
    cure: str = ""
    fatal: bool = True


def checks(settings: Settings) -> Iterator[Check]:
    """Look at each thing in turn."""
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", version, "" if sys.version_info >= (3, 11) else "Install Python 3.11 or newer.")
    reads = settings.profile == "embedded"  # the Droplet reads nothing, and its redis may be another container's
    for name, (oldest, apt, brew) in PROGRAMS.items():
        wanted = name != "redis-server" or settings.broker_url is None
        if name.startswith("pdf") or (reads and wanted):
            yield _program(name, oldest, f"apt-get install {apt} (or: brew install {brew})")
    if reads:
        yield _languages(settings)
        yield _attempt("recognition", _recognition)
    yield _space(settings)
    yield _attempt("storage", lambda: _round_trip(settings))
    yield _attempt("records", lambda: _records(settings))
    yield _backups(settings)
    yield _broker(settings)
    yield _attempt("analyst", lambda: _analyst(settings))
    yield _attempt("certificates", _signing)
    yield _attempt("rented machines", lambda: _fleet(settings))
    if settings.telegram_token is not None:
        yield _attempt("telegram", lambda: _telegram(settings))


def _program(name: str, oldest: tuple[int, ...], cure: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, "not installed", cure)
    flag = "-v" if name.startswith("pdf") else "--version"
    answer = subprocess.run([path, flag], capture_output=True, text=True, timeout=20, check=False)
    found = re.search(r"(\d+)\.(\d+)(?:\.\d+)?", answer.stdout + answer.stderr)
    if found is None:
        return Check(name, f"{path} does not say its version", cure)
    if (int(found[1]), int(found[2])) < oldest:
        return Check(name, found[0], f"{'.'.join(map(str, oldest))} or newer is needed: {cure}")
    return Check(name, found[0])


def _languages(settings: Settings) -> Check:
    try:
        answer = subprocess.run(
            ["tesseract", "--list-langs"], capture_output=True, text=True, timeout=20, check=False
        ).stdout
    except OSError:
        return Check("tesseract languages", "tesseract is missing", "See tesseract.")
    wanted = {*settings.ocr_languages.split("+"), "osd"}
    missing = sorted(wanted - set(answer.split()))
    cure = (
        f"apt-get install {' '.join('tesseract-ocr-' + name.replace('_', '-') for name in missing)}" if missing else ""
    )
    return Check("tesseract languages", f"missing: {', '.join(missing)}" if missing else " ".join(sorted(wanted)), cure)


def _recognition() -> str:
    """Loads the checkpoint if it is on this machine; does not fetch it."""
    engine, model = services.ocr_engine()
    if engine == "tesseract":
        return "tesseract"
    if not services.has_weights(model):
        cure = f"The first page fetches it; or `hf download {model}` now, or ASEAGI_OCR_ENGINE=tesseract."
        raise ConfigError("ASEAGI_TROCR_MODEL", f"{model} is not on this machine yet.", cure)
    from aseagi_tasks.reading.line_model import LineModel

    loaded = LineModel(model)
    return f"{engine}, {model} on {loaded.device}, lines of {loaded.height} x {loaded.width} pixels"


def _space(settings: Settings) -> Check:
    settings.scratch_root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.scratch_root).free
    cure = (
        ""
        if free > FREE_BYTES
        else f"Free some, or set ASEAGI_SCRATCH to a place with more than {settings.scratch_root} has."
    )
    return Check("scratch space", f"{free / 1e9:.1f} GB free", cure)


def _attempt(what: str, attempt: Callable[[], str]) -> Check:
    try:
        return Check(what, attempt())
    except AseagiError as exc:
        return Check(what, type(exc).__name__, str(exc))


def _round_trip(settings: Settings) -> str:
    storage, key, body = services.storage(), keys.cache("doctor", uuid.uuid4().hex), uuid.uuid4().bytes
    storage.put(key, body)
    same = storage.get(key) == body
    storage.delete(key)
    place = f"{settings.home / settings.bucket}" if settings.storage == "folder" else f"s3://{settings.bucket}"
    if not same:
        raise AseagiError(f"{place} gave back other bytes than were written.")
    return f"{place}, written, read, removed"


def _records(settings: Settings) -> str:
    counts = services.records().counts()
    where = "sqlite" if settings.records == "sqlite" else settings.supabase_url or ""
    listed = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    return f"{where}: {listed or 'no jobs yet'}"


def _backups(settings: Settings) -> Check:
    """How old the newest backup is, where there is anything to lose."""
    from datetime import UTC, datetime

    from aseagi_tasks.stores.drill import newest_age

    cure = "`aseagi backup` makes one now; beat makes one each night while the stack runs (its log says why not)."
    try:
        age = newest_age(services.storage(), datetime.now(UTC))
        begun = sum(services.records().counts().values())
    except AseagiError as exc:
        return Check("backups", type(exc).__name__, str(exc), fatal=False)
    if age is None:
        return Check("backups", "none yet", cure if begun else "", fatal=False)
    hours = age.total_seconds() / 3600
    said = f"the newest is {f'{hours:.0f} hours' if hours < 72 else f'{hours / 24:.0f} days'} old"
    return Check("backups", said, cure if hours > OLDEST_BACKUP_H else "", fatal=False)


def _broker(settings: Settings) -> Check:
    from kombu.exceptions import OperationalError

    from aseagi_tasks.celery import app

    if settings.broker_url is None and settings.profile == "embedded" and Stack(settings).pid is None:
        return Check("broker", "the stack is not running", "`aseagi up` starts it.", fatal=False)
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=5)
            workers = app.control.ping(timeout=1.0)
    except (OperationalError, OSError) as exc:
        return Check("broker", f"no answer: {type(exc).__name__}", "Check ASEAGI_BROKER_URL and that redis runs there.")
    names = sorted(name for worker in workers for name in worker)
    if not names:
        return Check("broker", "answers; no worker does", "`aseagi up` starts workers.", fatal=False)
    return Check("broker", "answers, and " + ", ".join(names))


def _signing() -> str:
    from aseagi_tasks.stores.signing_key import fingerprint

    key = services.signing_key()
    return "not signed (`aseagi make-key`)" if key is None else f"signed with {fingerprint(key.public_key())[:16]}…"


def _analyst(settings: Settings) -> str:
    if settings.analyst_in_use == "rules":
        return "rules (set ASEAGI_ANTHROPIC_API_KEY for Claude)"
    claude = services.claude()
    claude.service.count({"model": claude.model, "messages": [{"role": "user", "content": "?"}]})  # costs nothing
    return f"{claude.version}, key accepted"


def _telegram(settings: Settings) -> str:
    import httpx

    assert settings.telegram_token is not None
    address = f"{settings.telegram_base_url}/bot{settings.telegram_token.get_secret_value()}/getMe"
    try:
        answer = httpx.get(address, timeout=10)
    except httpx.HTTPError as exc:
        name = type(exc).__name__
        raise ConfigError("ASEAGI_TELEGRAM_BASE_URL", f"does not answer: {name}.", "Try again.") from None
    if answer.status_code != 200:
        raise ConfigError("ASEAGI_TELEGRAM_TOKEN", "is not known to Telegram.", "@BotFather shows it.")
    operators = sum(user.role == "operator" for user in services.records().users())
    if not operators:
        cure = "`aseagi users add ID --role operator`: somebody has to let others in."
        raise ConfigError("The bot", "has no operator.", cure)
    return f"@{answer.json()['result']['username']}, {operators} operator{'s' if operators != 1 else ''}"


def _fleet(settings: Settings) -> str:
    if settings.fleet == "none":
        return "none (ASEAGI_FLEET=vast rents machines when documents wait)"
    from aseagi_tasks.tending.tick import means
    from aseagi_tasks.tending.watching import limits_of

    tools = means()
    limits, balance = limits_of(settings, tools.records.controls()), tools.vast.balance()
    if balance < limits.daily_budget_usd:
        cure = f"Top it up, or lower ASEAGI_FLEET_DAILY_BUDGET_USD ({limits.daily_budget_usd:.2f})."
        raise ConfigError("Vast.ai's balance", f"is ${balance:.2f}, less than a day's budget.", cure)
    return f"vast, ${balance:.2f} of credit, {len(tools.vast.instances(tools.prefix))} rented"
