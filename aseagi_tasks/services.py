"""The one place that opens clients from settings. Each process opens its own, once, when first asked.

Implementations are imported here and only when chosen: a process pays for what it uses.
"""

from __future__ import annotations

import os
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, get_args

from aseagi_tasks.errors import BudgetExceeded, ConfigError, NotSetUp
from aseagi_tasks.notices import budget_key, notice
from aseagi_tasks.notify import ConsoleNotifier, Notifier, TelegramNotifier
from aseagi_tasks.settings import OcrEngine, settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from redis import Redis

    from aseagi_tasks.analysis.analyst import Analyst
    from aseagi_tasks.analysis.claude import ClaudeAnalyst
    from aseagi_tasks.fleet.invitations import Invitations
    from aseagi_tasks.fleet.vast import Vast
    from aseagi_tasks.reading.recognizer import Recognizer
    from aseagi_tasks.reading.tesseract import Tesseract
    from aseagi_tasks.stores.bulk_records import BulkRecords
    from aseagi_tasks.stores.fleet_records import FleetRecords
    from aseagi_tasks.stores.gateway import Gateway
    from aseagi_tasks.stores.records import Records
    from aseagi_tasks.stores.storage import Storage

ENGINES: tuple[str, ...] = get_args(OcrEngine)
#: There where NVIDIA's driver has a GPU to offer; asking torch would cost seconds and memory.
GPU_DRIVER = Path("/dev/nvidiactl")


@cache
def storage() -> Storage:
    """The bucket: a folder below home, or S3."""
    conf = settings()
    if conf.storage == "s3":
        from aseagi_tasks.stores.s3 import S3Storage

        secret = conf.s3_secret_access_key
        return S3Storage(
            bucket=conf.bucket,
            endpoint_url=conf.s3_endpoint_url,
            region=conf.s3_region,
            access_key_id=conf.s3_access_key_id,
            secret_access_key=secret.get_secret_value() if secret else None,
        )
    if conf.storage == "gateway":
        from aseagi_tasks.stores.gateway import GatewayStorage

        return GatewayStorage(gateway())
    from aseagi_tasks.stores.folder import FolderStorage

    return FolderStorage(conf.home / conf.bucket)


@cache
def records() -> Records:
    """Documents, jobs, events and costs: a file below home, or Supabase."""
    conf = settings()
    if conf.records == "supabase":
        from aseagi_tasks.stores.supabase import SupabaseRecords

        assert conf.supabase_url is not None and conf.supabase_key is not None  # settings() has checked
        return SupabaseRecords(conf.supabase_url, conf.supabase_key.get_secret_value())
    if conf.records == "gateway":
        from aseagi_tasks.stores.gateway import gateway_records

        return gateway_records(gateway())
    from aseagi_tasks.stores.sqlite import SqliteRecords

    return SqliteRecords(conf.records_file)


@cache
def gateway() -> Gateway:
    """A rented machine's way to the Droplet."""
    from aseagi_tasks.stores.gateway import Gateway

    conf = settings()
    assert conf.gateway_token is not None  # settings() has checked
    return Gateway(conf.gateway_url, conf.gateway_token.get_secret_value())


@cache
def invitations() -> Invitations:
    """Who lets rented machines in."""
    from aseagi_tasks.fleet.authority import Authority
    from aseagi_tasks.fleet.invitations import Invitations

    conf = settings()
    return Invitations(redis(), Authority(conf.ca_folder), conf.tunnel_pid_file)


def lets_machines_in() -> bool:
    """Whether rented machines come by enrolment and tunnel: where this installation has an authority of its own."""
    from aseagi_tasks.fleet.authority import Authority

    return Authority(settings().ca_folder).exists


def dismiss(instance_id: str) -> bool:
    """End all that a rented machine was given, and take its jobs back; whether it had anything. May be repeated."""
    had = invitations().dismiss(instance_id, datetime.now(UTC))
    records().take_jobs_back(instance_id)
    return had


def records_source() -> Path | str:
    """What a backup copies: the SQLite file, or the address of Postgres.

    Raises:
        ConfigError: the records are in Supabase, and there is no direct address.
    """
    conf = settings()
    return conf.records_file if conf.records == "sqlite" else postgres_url()


def postgres_url() -> str:
    """The direct address of Postgres. Holds a password: never log it.

    Raises:
        ConfigError: it is not set.
    """
    address = settings().postgres_url
    if address is None:
        cure = "Supabase shows it under Connect (direct connection): postgresql://postgres:…@db.….supabase.co:5432/postgres"
        raise ConfigError("ASEAGI_POSTGRES_URL", "is not set.", cure)
    return address.get_secret_value()


def ocr_engine(asked: str | None = None) -> tuple[str, str]:
    """Engine and checkpoint: what was asked for a document, else the settings'.

    ``auto`` is TrOCR if a GPU and the weights are on this machine, else Tesseract.

    Args:
        asked: ``auto``, ``tesseract``, ``trocr``, ``hybrid``; the last two also as ``trocr:CHECKPOINT``.
    Raises:
        ConfigError: there is no such engine.
    """
    conf = settings()
    engine, _, model = (asked or conf.ocr_engine).partition(":")
    if engine not in ENGINES or (model and engine not in ("trocr", "hybrid")):
        raise ConfigError(f"OCR engine {asked!r}", "is not known.", f"{', '.join(ENGINES)}, or trocr:CHECKPOINT.")
    model = model or conf.trocr_model
    if engine == "auto":
        can_run = GPU_DRIVER.exists() and all(map(find_spec, ("torch", "transformers")))
        engine = "trocr" if can_run and has_weights(model) else "tesseract"
    return engine, model


def has_weights(model: str) -> bool:
    """Whether a checkpoint is on this machine: a folder, or in Hugging Face's cache."""
    hub = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub"
    cache_folder = hub / f"models--{model.replace('/', '--')}"
    return (Path(model) / "config.json").is_file() or any(cache_folder.glob("snapshots/*/config.json"))


def read_line(image: Any, dpi: float) -> tuple[str, float]:
    """What reads a single line, whatever engine reads pages; see ``Tesseract.line``."""
    return _tesseract().line(image, dpi)


def recognizer(asked: str | None = None) -> Recognizer:
    """What reads page images; ``asked`` as for ``ocr_engine``. Models are loaded when the first page is read."""
    engine, model = ocr_engine(asked)
    if engine == "tesseract":
        return _tesseract()
    with _making:
        return _with_model(engine, model)


@cache
def _tesseract() -> Tesseract:
    from aseagi_tasks.reading.tesseract import Tesseract

    return Tesseract(settings().ocr_languages, settings().ocr_cleaning)


_making = Lock()  # threads that ask at the same time get the same one


@lru_cache(maxsize=2)  # models take gigabytes of a GPU
def _with_model(engine: str, model: str) -> Recognizer:
    from aseagi_tasks.reading.trocr import TrOCR

    trocr = TrOCR(model, _tesseract().detect, settings().ocr_cleaning)
    if engine == "trocr":
        return trocr
    from aseagi_tasks.reading.hybrid import Hybrid

    return Hybrid(_tesseract(), trocr)


def analyst(asked: str | None = None) -> Analyst:
    """What finds facts in the text: what was asked for a document, else the settings'.

    Args:
        asked: ``rules``, or a model.
    Raises:
        ConfigError: there is no such model, or no key for it.
    """
    conf = settings()
    if asked not in (None, "rules"):
        if conf.anthropic_api_key is None and not conf.behind_gateway:
            raise ConfigError("ASEAGI_ANTHROPIC_API_KEY", f"is not set, and {asked} needs it.", "Set it, see README.")
        return claude(asked)
    if asked is None and conf.analyst_in_use == "claude":
        return claude()
    from aseagi_tasks.analysis.rules import RulesAnalyst

    return RulesAnalyst()


def by_batch(priority: str) -> bool:
    """Whether what Claude is asked about documents of this priority goes through Message Batches."""
    conf = settings()
    return priority == "low" and conf.claude_batches == "low" and conf.analyst_in_use == "claude"


@cache
def claude(model: str | None = None) -> ClaudeAnalyst:
    """The analyst that asks Claude; its pauses are those of every worker. A rented machine has no key, and no word on
    the rhythm: the gateway adds the one and keeps the other."""
    from aseagi_tasks.analysis.claude import ClaudeAnalyst
    from aseagi_tasks.analysis.service import Service
    from aseagi_tasks.stores.pace import Pace

    conf = settings()
    key, address, pace = conf.anthropic_api_key, conf.anthropic_base_url, None
    if conf.behind_gateway:
        key, address = conf.gateway_token, conf.gateway_url
    else:
        pace = Pace(redis(), "claude")
    assert key is not None  # settings() has checked
    return ClaudeAnalyst(Service(key.get_secret_value(), address, pace=pace), model or conf.claude_model)


@cache
def redis() -> Redis:
    """The broker's Redis, for what processes share beside the queue."""
    from redis import Redis

    address = settings().broker.replace("redis+socket://", "unix://", 1)
    return Redis.from_url(address, socket_timeout=30, socket_connect_timeout=10, health_check_interval=25)


def limits() -> dict[str, tuple[float | None, float | None]]:
    """USD that may be spent by kind on a UTC day and in a month; None: there is no such limit."""
    conf = settings()
    found: dict[str, tuple[float | None, float | None]] = dict.fromkeys(("gpu", "claude", "storage"), (None, None))
    if conf.analyst_in_use == "claude":
        found["claude"] = (conf.claude_daily_usd, None)
    if conf.fleet != "none":
        by_hand = fleet_records().controls().get("limits") or {}
        day, month = conf.fleet_daily_budget_usd, conf.fleet_monthly_budget_usd
        found["gpu"] = (by_hand.get("daily_budget_usd", day), by_hand.get("monthly_budget_usd", month))
    return found


def signing_key() -> Ed25519PrivateKey | None:
    """The operator's key for certificates; None if none is set.

    Raises:
        ConfigError: it is set, and cannot be used.
    """
    path = settings().signing_key_file
    if path is None:
        return None
    from aseagi_tasks.stores.signing_key import load_key

    return load_key(path)


@cache
def fleet_records() -> FleetRecords:
    """Instances, machines, decisions: beside the other records."""
    conf = settings()
    if conf.records == "supabase":
        from aseagi_tasks.stores.supabase_fleet import SupabaseFleet

        assert conf.supabase_url is not None and conf.supabase_key is not None  # settings() has checked
        return SupabaseFleet(conf.supabase_url, conf.supabase_key.get_secret_value())
    from aseagi_tasks.stores.sqlite_fleet import SqliteFleet

    return SqliteFleet(conf.records_file)


@cache
def bulk_records() -> BulkRecords:
    """Bulk runs: beside the other records."""
    conf = settings()
    if conf.records == "supabase":
        from aseagi_tasks.stores.supabase_bulk import SupabaseBulk

        assert conf.supabase_url is not None and conf.supabase_key is not None  # settings() has checked
        return SupabaseBulk(conf.supabase_url, conf.supabase_key.get_secret_value())
    from aseagi_tasks.stores.sqlite_bulk import SqliteBulk

    return SqliteBulk(conf.records_file)


@cache
def vast() -> Vast:
    """The provider of machines.

    Raises:
        ConfigError: none is set.
    """
    from aseagi_tasks.fleet.vast import Vast
    from aseagi_tasks.stores.pace import ServiceRhythm

    conf = settings()
    if conf.fleet == "none" or conf.vast_api_key is None:
        raise ConfigError("ASEAGI_FLEET", "is none: no machines are rented.", "Set it to vast, see README.")
    rhythm = ServiceRhythm(redis(), "vast", daily={"search": conf.fleet_searches_per_day})
    return Vast(conf.vast_api_key.get_secret_value(), rhythm, conf.vast_url)


@cache
def notifier() -> Notifier:
    """How operators are told: by Telegram where there is a bot, else in the log."""
    conf = settings()
    if conf.telegram_token is None:
        return ConsoleNotifier()

    def operators() -> list[tuple[int, str]]:
        return [(user.telegram_id, user.language) for user in records().users() if user.role == "operator"]

    return TelegramNotifier(
        conf.telegram_token.get_secret_value(), operators, conf.telegram_base_url.rstrip("/"), redis
    )


def tell_once(key: str, message: str, *, every_s: int = 86_400) -> bool:
    """Tell the operators, unless they were told under this key within ``every_s``; whether they were told now.

    Where Redis does not answer they are told: twice is better than never. A rented machine tells nobody: what they
    should know, the gateway sees and tells.
    """
    from redis.exceptions import RedisError

    if settings().behind_gateway:
        return False
    try:
        if not redis().set(f"aseagi:told:{key}", 1, nx=True, ex=every_s):
            return False
    except RedisError:
        pass
    notifier().tell(message)
    return True


def tell_surely(key: str, message: str) -> None:
    """Tell the operators, unless they were told under this key this week; who is stopped while telling tells again."""
    from redis.exceptions import RedisError

    told = f"aseagi:told:{key}"
    try:
        if redis().exists(told):
            return
    except RedisError:
        pass
    notifier().tell(message)
    with suppress(RedisError):
        redis().set(told, 1, ex=7 * 86_400)


def tell_what_waits(exc: BudgetExceeded | NotSetUp) -> None:
    """Tell the operators what documents wait for: once a day for each setting."""
    if isinstance(exc, BudgetExceeded):
        what, usd, limit, setting = exc.args
        said = notice("budget", what=what, usd=usd, limit=limit, setting=setting)
        tell_once(budget_key(limit, setting, datetime.now(UTC)), said)
    else:
        tell_once(":".join((type(exc).__name__, *map(str, exc.args[2:]))), notice("waits", why=exc))


def versions(engine: str | None = None, asked: str | None = None) -> dict[str, str]:
    """What would make a document's results now; results made by something else are not taken for known.

    Args:
        engine, asked: as for ``ocr_engine`` and ``analyst``.
    """
    return {"ocr": recognizer(engine).engine, "analyst": analyst(asked).version}
