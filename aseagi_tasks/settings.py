"""Settings: one validated object, read once from ``ASEAGI_*`` variables and ``.env``.

Every field here stands in ``.env.example`` with its default; a test holds the two together.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal, get_args

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from aseagi_tasks.errors import ConfigError

PREFIX = "ASEAGI_"
OcrEngine = Literal["auto", "tesseract", "trocr", "hybrid"]
CleaningStep = Literal["flatten", "straighten", "even", "despeckle", "rules", "underlines"]
_LOCAL_OR_HTTPS = re.compile(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])\b")
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")
CLEANING: frozenset[CleaningStep] = frozenset(get_args(CleaningStep))
#: USD an hour that a machine with this GPU may cost, disk included; a kind that is not named is not rented.
PRICE_CAPS: Mapping[str, float] = {
    **{"RTX 3080": 0.20, "RTX 3090": 0.30, "RTX 4090": 0.60, "RTX 5090": 0.90, "A100 SXM4": 1.30},
}


def _listed(value: object) -> object:
    """What is written as names with commas, or ``none``."""
    if not isinstance(value, str):
        return value
    return frozenset() if value == "none" else frozenset(name.strip() for name in value.split(","))


def _priced(value: object) -> object:
    """What is written as ``RTX 3090:0.30,RTX 4090:0.60``."""
    if not isinstance(value, str):
        return value
    pairs = [part.rpartition(":") for part in value.split(",") if part.strip()]
    return {name.strip(): float(price) for name, _, price in pairs}


class Settings(BaseSettings):
    """All settings. Cloud settings change addresses only; nothing else in the program asks which side it is on."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="ignore", frozen=True)

    home: Path = Field(Path("~/.aseagi"), description="Where the embedded stack keeps everything.")
    scratch: Path | None = Field(None, description="Working space for page images; default ASEAGI_HOME/scratch.")

    broker_url: SecretStr | None = Field(None, description="Redis for the queue; default: an own one under home.")
    cpu_workers: int = Field(default_factory=lambda: os.cpu_count() or 1, ge=1, le=256)
    claude_threads: int = Field(4, ge=1, le=64)
    worker_memory_mb: int = Field(1_500, ge=100, description="A reading process that has grown so large is replaced.")
    max_live: int = Field(200, ge=1, le=100_000, description="Documents in the queue or at work; others wait as rows.")
    redis_max_mb: int = Field(256, ge=16, description="The embedded Redis takes no more memory.")
    broker_timeout_s: float = Field(30, ge=1, description="A connection to Redis that is silent for so long is dead.")
    lease_s: float = Field(40, ge=1, le=600, description="A worker that was not heard of for so long has died.")
    reap_every_s: float = Field(10, ge=0.2, le=300)
    stage_limit_s: float = Field(600, ge=1, description="How long a stage may take, and for each page besides:")
    page_limit_s: float = Field(2, ge=0)
    drain_s: int = Field(30, ge=1, le=3600, description="How long a stopping worker may finish what it runs.")

    storage: Literal["folder", "s3"] = "folder"
    bucket: str = "aseagi-documents"
    s3_endpoint_url: str | None = Field(None, description="For Spaces and other S3 look-alikes.")
    s3_region: str | None = None
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None

    records: Literal["sqlite", "supabase"] = "sqlite"
    supabase_url: str | None = Field(None, description="https://….supabase.co")
    supabase_key: SecretStr | None = Field(None, description="The secret (service) key of the control plane.")
    supabase_jwt_secret: SecretStr | None = Field(None, description="Signs tokens for viewers and rented workers.")
    postgres_url: SecretStr | None = Field(None, description="Direct connection: migrations, backups.")

    analyst: Literal["auto", "rules", "claude"] = "auto"
    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str | None = None
    claude_model: str = "claude-haiku-5-5"
    claude_daily_usd: float = Field(5.0, gt=0, description="What Claude may cost on one UTC day.")
    claude_document_usd: float = Field(1.0, gt=0, description="What one document may cost at most, known beforehand.")
    claude_look_again_s: int = Field(180, ge=1, le=900, description="For what waits for money or for a key.")
    claude_batches: Literal["low", "never"] = "low"
    claude_batch_wait_s: int = Field(60, ge=1, le=3600, description="A batch is sent when nothing came for so long.")

    ocr_engine: OcrEngine = "auto"
    trocr_model: str = Field("microsoft/trocr-base-handwritten", description="A folder, or a name on Hugging Face.")
    ocr_threads: int = Field(8, ge=1, le=64, description="Documents that one process reads at a time with TrOCR.")
    ocr_cleaning: Annotated[frozenset[CleaningStep], NoDecode, BeforeValidator(_listed)] = CLEANING
    ocr_languages: str = Field("eng", pattern=r"^[A-Za-z_]+(\+[A-Za-z_]+)*$")
    hidden_text: Literal["report", "read"] = "report"
    dpi: int = Field(300, ge=150, le=600)
    max_bytes: int = Field(500_000_000, ge=1)
    max_pages: int = Field(2_000, ge=1)
    max_page_pixels: int = Field(40_000_000, ge=1_000_000, description="Larger pages are rendered at lower dpi.")
    render_timeout_s: int = Field(120, ge=1, description="A renderer that takes longer for one batch is killed.")

    scratch_max_mb: int = Field(20_000, ge=1, description="Above it no new documents are begun on this machine.")
    min_free_mb: int = Field(500, ge=0, description="With less free on the disk no new documents are taken in.")

    signing_key_file: Path | None = Field(None, description="Ed25519 key that signs certificates (`make-key`).")

    fleet: Literal["none", "vast"] = "none"
    vast_api_key: SecretStr | None = None
    vast_url: str = "https://console.vast.ai"
    fleet_name: str = Field("aseagi", pattern=r"^[a-z][a-z0-9]{0,30}$", description="Begins our instances' labels.")
    fleet_image: str | None = Field(None, description="What rented machines run.")
    fleet_image_gb: float = Field(4.0, ge=0, description="What a machine pulls that does not have it.")
    fleet_disk_gb: float = Field(24.0, ge=8)
    fleet_queues: Annotated[frozenset[Literal["cpu", "gpu", "claude"]], NoDecode, BeforeValidator(_listed)] = frozenset(
        ("cpu", "gpu", "claude")
    )
    fleet_price_caps: Annotated[Mapping[str, float], NoDecode, BeforeValidator(_priced)] = PRICE_CAPS
    fleet_instances: int = Field(3, ge=0)
    fleet_usd_per_hour: float = Field(1.0, ge=0)
    fleet_daily_budget_usd: float = Field(5.0, ge=0)
    fleet_monthly_budget_usd: float = Field(50.0, ge=0)
    fleet_reliability: float = Field(0.97, ge=0, le=1)
    fleet_hosts: Literal["datacenter", "verified", "any"] = "verified"
    fleet_regions: Annotated[frozenset[str], NoDecode, BeforeValidator(_listed)] = frozenset()
    fleet_boot_s: float = Field(900.0, gt=0)
    fleet_join_s: float = Field(180.0, gt=0)
    fleet_lifetime_s: float = Field(86_400.0, gt=0)
    fleet_idle_s: float = Field(300.0, ge=0)
    fleet_failures: int = Field(6, ge=1)
    fleet_slowest_s_per_page: float = Field(5.0, gt=0, description="A machine that takes longer is given back.")
    fleet_searches_per_day: int = Field(2_000, ge=1)
    instance: str | None = Field(None, description="On a rented machine: the name under which it was rented.")

    telegram_token: SecretStr | None = Field(None, description="From @BotFather; with it, the bot runs.")
    telegram_base_url: str = "https://api.telegram.org"
    telegram_webhook_url: str | None = Field(None, description="Where Telegram calls; without it the bot polls.")
    telegram_webhook_secret: SecretStr | None = None
    telegram_webhook_port: int = Field(8081, ge=0, le=65535, description="On loopback, behind nginx.")
    telegram_files_per_hour: int = Field(120, ge=1, description="From one user; more are turned away until then.")

    monitor_address: str = "127.0.0.1"
    monitor_port: int = Field(5555, ge=0, le=65535)
    monitor_url_prefix: str | None = Field(
        None, pattern=r"^[A-Za-z0-9_/-]+$", description="Behind a proxy, e.g. monitor."
    )
    monitor_operators: SecretStr | None = Field(None, description="name:password,name:password; they change things.")
    monitor_viewers: SecretStr | None = Field(None, description="name:password,…; they look.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("home", "scratch", "signing_key_file")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        if self.storage == "s3" and (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ValueError("ASEAGI_S3_ACCESS_KEY_ID and ASEAGI_S3_SECRET_ACCESS_KEY go together; set both or neither")
        if self.records == "supabase" and (self.supabase_url is None or self.supabase_key is None):
            raise ValueError("ASEAGI_RECORDS=supabase needs ASEAGI_SUPABASE_URL and ASEAGI_SUPABASE_KEY")
        if self.supabase_url and not _LOCAL_OR_HTTPS.match(self.supabase_url):
            raise ValueError(
                "ASEAGI_SUPABASE_URL begins with https:// (http:// only on this machine): it carries a key"
            )
        if not _LOCAL_OR_HTTPS.match(self.telegram_base_url):
            raise ValueError("ASEAGI_TELEGRAM_BASE_URL begins with https:// (http:// only here): it carries a key")
        if self.telegram_webhook_url and not _LOCAL_OR_HTTPS.match(self.telegram_webhook_url):
            raise ValueError("ASEAGI_TELEGRAM_WEBHOOK_URL begins with https://")
        secret = self.telegram_webhook_secret
        if self.telegram_webhook_url and (secret is None or not _SECRET.fullmatch(secret.get_secret_value())):
            raise ValueError(
                "ASEAGI_TELEGRAM_WEBHOOK_URL needs ASEAGI_TELEGRAM_WEBHOOK_SECRET: 16 to 256 letters, digits, _ and -"
            )
        if self.analyst == "claude" and self.anthropic_api_key is None:
            raise ValueError("ASEAGI_ANALYST=claude needs ASEAGI_ANTHROPIC_API_KEY")
        for people in (self.monitor_operators, self.monitor_viewers):
            if people and not all(re.match(r"[^:,]+:[^:,]+$", one) for one in people.get_secret_value().split(",")):
                raise ValueError("ASEAGI_MONITOR_OPERATORS and ASEAGI_MONITOR_VIEWERS are name:password,name:password")
        if self.monitor_operators is None and self.monitor_address not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError(
                f"ASEAGI_MONITOR_ADDRESS={self.monitor_address} can be reached from elsewhere: it needs"
                " ASEAGI_MONITOR_OPERATORS=name:password"
            )
        if self.fleet == "vast" and (self.vast_api_key is None or self.fleet_image is None):
            raise ValueError("ASEAGI_FLEET=vast needs ASEAGI_VAST_API_KEY and ASEAGI_FLEET_IMAGE")
        if not re.match(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])\b", self.vast_url):
            raise ValueError("ASEAGI_VAST_URL begins with https:// (http:// only on this machine): it carries a key")
        if self.broker_url is None and len(str(self.redis_socket)) > 100:
            raise ValueError(
                f"ASEAGI_HOME is too long a path for a unix socket ({self.redis_socket}); choose a shorter one"
            )
        return self

    @property
    def redis_socket(self) -> Path:
        """Where the embedded Redis listens."""
        return self.home / "run" / "redis.sock"

    @property
    def broker(self) -> str:
        """Redis address for Celery. May hold a password: never log it."""
        if self.broker_url is not None:
            return self.broker_url.get_secret_value()
        return f"redis+socket://{self.redis_socket}"

    @property
    def records_file(self) -> Path:
        """The SQLite records, where they are in use."""
        return self.home / "records.sqlite3"

    @property
    def scratch_root(self) -> Path:
        """Each job has a folder of its own below this."""
        return self.scratch or self.home / "scratch"

    @property
    def analyst_in_use(self) -> Literal["rules", "claude"]:
        """What ``auto`` comes to."""
        if self.analyst == "auto":
            return "rules" if self.anthropic_api_key is None else "claude"
        return self.analyst


def load(env_file: Path = Path(".env")) -> Settings:
    """Read and validate the settings from this process's environment and ``env_file``.

    Raises:
        ConfigError: a value is wrong or missing, or a variable begins with ``ASEAGI_`` and is not known.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    for variable in (*os.environ, *dotenv_values(env_file)):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            nearest = difflib.get_close_matches(variable.upper(), sorted(known), n=1, cutoff=0)[0]
            raise ConfigError(variable, "is not a setting.", f"Did you mean {nearest}? .env.example lists all.")
    try:
        return Settings(_env_file=env_file)  # type: ignore[call-arg]
    except ValidationError as exc:
        first = exc.errors()[0]
        variable = PREFIX + str(first["loc"][0]).upper() if first["loc"] else "Settings"
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(variable, message + ".", "See .env.example for what it takes.") from None


@lru_cache(maxsize=1)
def settings() -> Settings:
    """This process's settings, read once."""
    return load()
