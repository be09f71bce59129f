"""The one place that opens clients from settings. Each process opens its own, once, when first asked.

Implementations are imported here and only when chosen: a process pays for what it uses.
"""

from __future__ import annotations

import os
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aseagi_tasks.errors import ConfigError
from aseagi_tasks.notify import ConsoleNotifier, Notifier
from aseagi_tasks.settings import settings

if TYPE_CHECKING:
    from aseagi_tasks.analysis.analyst import Analyst
    from aseagi_tasks.reading.recognizer import Recognizer
    from aseagi_tasks.stores.records import Records
    from aseagi_tasks.stores.storage import Storage


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
    from aseagi_tasks.stores.sqlite import SqliteRecords

    return SqliteRecords(conf.records_file)


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


@cache
def ocr_engine() -> Literal["tesseract", "trocr", "hybrid"]:
    """What ``auto`` comes to on this machine: TrOCR if a GPU and its weights are there, else Tesseract."""
    conf = settings()
    if conf.ocr_engine != "auto":
        return conf.ocr_engine
    can_run = Path("/dev/nvidiactl").exists() and all(map(find_spec, ("torch", "transformers")))
    return "trocr" if can_run and _has_weights(conf.trocr_model) else "tesseract"


def _has_weights(model: str) -> bool:
    """Whether a checkpoint is on this machine: a folder, or in Hugging Face's cache."""
    hub = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser() / "hub"
    cache_folder = hub / f"models--{model.replace('/', '--')}"
    return (Path(model) / "config.json").is_file() or any(cache_folder.glob("snapshots/*/config.json"))


@cache
def recognizer() -> Recognizer:
    """What reads page images. Models are loaded when the first page is read."""
    from aseagi_tasks.reading.tesseract import Tesseract

    conf, engine = settings(), ocr_engine()
    tesseract = Tesseract(conf.ocr_languages)
    if engine == "tesseract":
        return tesseract
    from aseagi_tasks.reading.trocr import TrOCR

    trocr = TrOCR(conf.trocr_model, tesseract.detect)
    if engine == "trocr":
        return trocr
    from aseagi_tasks.reading.hybrid import Hybrid

    return Hybrid(tesseract, trocr)


@cache
def analyst() -> Analyst:
    """What finds facts in the text."""
    conf = settings()
    if conf.analyst_in_use == "claude":
        from aseagi_tasks.analysis.claude import ClaudeAnalyst

        assert conf.anthropic_api_key is not None  # settings() has checked
        return ClaudeAnalyst(
            api_key=conf.anthropic_api_key.get_secret_value(),
            model=conf.claude_model,
            base_url=conf.anthropic_base_url,
        )
    from aseagi_tasks.analysis.rules import RulesAnalyst

    return RulesAnalyst()


@cache
def notifier() -> Notifier:
    """Who is told."""
    return ConsoleNotifier()


def versions() -> dict[str, str]:
    """What would make a document's results now; results made by something else are not taken for known."""
    return {"ocr": recognizer().engine, "analyst": analyst().version}
