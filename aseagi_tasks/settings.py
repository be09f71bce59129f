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
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dotenv import dotenv_values
from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from aseagi_tasks.errors import ConfigError

PREFIX = "ASEAGI_"
#: ``ASEAGI_SUPABASE_KEY_FILE`` names a file that holds ASEAGI_SUPABASE_KEY.
FILE = "_FILE"
OcrEngine = Literal["auto", "tesseract", "trocr", "hybrid"]
CleaningStep = Literal["flatten", "straighten", "even", "despeckle", "rules", "underlines"]
_LOCAL_OR_HTTPS = re.compile(r"https://|http://(127\.0\.0\.1|localhost|\[::1\])\b")
_SECRET = re.compile(r"[A-Za-z0-9_-]{16,256}")
_TIME = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"
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

    profile: Literal["embedded", "droplet"] = "embedded"
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

    storage: Literal["folder", "s3", "gateway"] = "folder"
    bucket: str = "aseagi-documents"
    s3_endpoint_url: str | None = Field(None, description="For Spaces and other S3 look-alikes.")
    s3_region: str | None = None
    s3_access_key_id: str | None = None
    s3_secret_access_key: SecretStr | None = None

    records: Literal["sqlite", "supabase", "gateway"] = "sqlite"
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

    keep_events_days: int = Field(90, ge=1, description="After a job's end; then its events become one row.")
    keep_exports_days: int = Field(365, ge=0, description="Reports; 0: for ever.")
    keep_certificates_days: int = Field(0, ge=0, description="0: for ever.")
    signing_key_file: Path | None = Field(None, description="Ed25519 key that signs certificates (`make-key`).")
    time_zone: str = Field("UTC", description="Of what the clock calls by the time on the wall, e.g. America/New_York.")

    nightly: Literal["off", "on"] = Field("off", description="Each night everything new in raw/ is done.")
    nightly_at: str = Field("01:30", pattern=_TIME, description="By the clock on the wall (ASEAGI_TIME_ZONE).")
    nightly_until: str = Field(
        "06:30", pattern=_TIME, description="Nothing is begun after it; the rest is carried over."
    )
    nightly_usd: float = Field(5.0, ge=0, description="What a night may spend, rent included.")
    bulk_unattended_usd: float = Field(1.0, ge=0, description="A run nobody watches confirms itself up to this.")
    bulk_rest_s: float = Field(60, ge=0, description="A file that was modified since may still be written.")

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
    fleet_lifetime_s: float = Field(79_200.0, gt=0)
    fleet_idle_s: float = Field(300.0, ge=0)
    fleet_failures: int = Field(6, ge=1)
    fleet_slowest_s_per_page: float = Field(5.0, gt=0, description="A machine that takes longer is given back.")
    fleet_searches_per_day: int = Field(2_000, ge=1)

    instance: str | None = Field(None, description="On a rented machine: the name under which it was rented.")
    instance_folder: Path | None = Field(None, description="Set on rented machines only: what must outlive a restart.")
    instance_idle_s: float = Field(1_800, gt=0, description="A rented machine ends itself when no task ran so long,")
    instance_silent_s: float = Field(600, gt=0, description="or the control plane gave no sign of life,")
    instance_join_s: float = Field(900, gt=0, description="or it has not joined,")
    instance_lifetime_s: float = Field(43_200, gt=0, le=82_800, description="or it is this old.")
    instance_drain_s: float = Field(120, gt=0, description="How long what runs then may go on.")
    instance_step_s: float = Field(120, gt=0, description="How long one step of joining may take.")
    control_url: str | None = Field(None, description="Where a rented machine enrolls: https address of the Droplet.")
    control_ca_file: Path | None = Field(None, description="Who signed its certificate, if no public authority did.")
    bootstrap_token: SecretStr | None = Field(None, description="Of one launch, for a few minutes.")
    tunnel_port: int = Field(6379, ge=1, le=65535, description="Where a rented machine finds Redis on loopback.")
    gateway_port: int = Field(8082, ge=1, le=65535, description="The worker gateway, or a machine's way to it.")
    gateway_token: SecretStr | None = Field(None, description="Of a rented machine; opens the jobs it was given.")
    gateway_jobs: int = Field(400, ge=1, description="Open jobs that one rented machine has at a time.")
    gateway_calls_per_s: float = Field(50, gt=0, description="Of one rented machine.")
    gateway_claude_usd: float = Field(2.0, gt=0, description="What Claude may cost through one rented machine.")
    canary_command: str | None = Field(None, description="Measures a rented machine; prints seconds_per_page as JSON.")

    public_name: str = Field("localhost", pattern=r"^[a-z0-9.-]+$", description="What the Droplet is called.")
    listen_address: str = Field("0.0.0.0", description="Where the Droplet's open ports listen.")
    http_port: int = Field(80, ge=1, le=65535)
    https_port: int = Field(443, ge=1, le=65535)
    tunnel_public_port: int = Field(6380, ge=1, le=65535, description="Where rented machines come in.")
    redis_port: int = Field(6379, ge=1, le=65535, description="On the Droplet's loopback.")

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

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{name!r} is no time zone; they are called like America/New_York") from None
        return name

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
        if self.control_url and not re.match(r"https://|http://127\.0\.0\.1\b", self.control_url):
            raise ValueError("ASEAGI_CONTROL_URL begins with https://: a token goes there")
        if "gateway" in (self.storage, self.records) and self.gateway_token is None:
            raise ValueError("ASEAGI_STORAGE=gateway and ASEAGI_RECORDS=gateway need ASEAGI_GATEWAY_TOKEN")
        if not _LOCAL_OR_HTTPS.match(self.telegram_base_url):
            raise ValueError("ASEAGI_TELEGRAM_BASE_URL begins with https:// (http:// only here): it carries a key")
        if self.telegram_webhook_url and not _LOCAL_OR_HTTPS.match(self.telegram_webhook_url):
            raise ValueError("ASEAGI_TELEGRAM_WEBHOOK_URL begins with https://")
        secret = self.telegram_webhook_secret
        if self.telegram_webhook_url and (secret is None or not _SECRET.fullmatch(secret.get_secret_value())):
            raise ValueError(
                "ASEAGI_TELEGRAM_WEBHOOK_URL needs ASEAGI_TELEGRAM_WEBHOOK_SECRET: 16 to 256 letters, digits, _ and -"
            )
        if self.analyst == "claude" and self.anthropic_api_key is None and self.gateway_token is None:
            raise ValueError("ASEAGI_ANALYST=claude needs ASEAGI_ANTHROPIC_API_KEY")
        for people in (self.monitor_operators, self.monitor_viewers):
            if people and not all(re.match(r"[^:,]+:[^:,]+$", one) for one in people.get_secret_value().split(",")):
                raise ValueError("ASEAGI_MONITOR_OPERATORS and ASEAGI_MONITOR_VIEWERS are name:password,name:password")
        if self.monitor_operators is None and self.monitor_address not in ("127.0.0.1", "localhost", "::1"):
            raise ValueError(
                f"ASEAGI_MONITOR_ADDRESS={self.monitor_address} can be reached from elsewhere: it needs"
                " ASEAGI_MONITOR_OPERATORS=name:password"
            )
        if 0 < self.keep_certificates_days < 30:
            raise ValueError("ASEAGI_KEEP_CERTIFICATES_DAYS is 0 (for ever) or at least 30: a week is certified anew")
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
        if self.profile == "droplet":
            try:
                return self.broker_file.read_text()
            except OSError as exc:
                cure = "`aseagi up --profile droplet` makes it; whoever reads it must be who runs that."
                raise ConfigError(str(self.broker_file), f"cannot be read ({exc.strerror}).", cure) from None
        return f"redis+socket://{self.redis_socket}"

    @property
    def broker_file(self) -> Path:
        """The control plane's login at the Droplet's own Redis; made when it first starts."""
        return self.home / "secrets" / "broker_url"

    @property
    def records_file(self) -> Path:
        """The SQLite records, where they are in use."""
        return self.home / "records.sqlite3"

    @property
    def behind_gateway(self) -> bool:
        """Whether this is a rented machine that reaches bucket, records and Claude by the worker gateway only."""
        return self.records == "gateway"

    @property
    def gateway_url(self) -> str:
        """Where the worker gateway answers: on the Droplet, and at a rented machine's end of the tunnel."""
        return f"http://127.0.0.1:{self.gateway_port}"

    @property
    def ca_folder(self) -> Path:
        """The certificate authority of the tunnel, where this machine is the Droplet."""
        return self.home / "ca"

    @property
    def tunnel_pid_file(self) -> Path:
        """Who is told when a certificate was revoked."""
        return self.home / "run" / "tunnel.pid"

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


#: Each of these may stand in a file.
SECRETS = tuple(name for name, field in Settings.model_fields.items() if SecretStr in get_args(field.annotation))


def load(env_file: Path = Path(".env")) -> Settings:
    """Read and validate the settings from this process's environment and ``env_file``.

    A secret may stand in a file instead, named by ``ASEAGI_…_FILE``: an environment is inherited, a file is not.

    Raises:
        ConfigError: a value is wrong or missing, or a variable begins with ``ASEAGI_`` and is not known.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    files = {f"{PREFIX}{name.upper()}{FILE}": name for name in SECRETS}
    given = {name.upper(): value for name, value in {**dotenv_values(env_file), **os.environ}.items()}
    for variable in given:
        if variable.startswith(PREFIX) and variable not in known and variable not in files:
            nearest = difflib.get_close_matches(variable, sorted(known), n=1, cutoff=0)[0]
            raise ConfigError(variable, "is not a setting.", f"Did you mean {nearest}? .env.example lists all.")
    secrets = {name: _secret(variable, given) for variable, name in files.items() if given.get(variable)}
    try:
        return Settings(_env_file=env_file, **secrets)  # type: ignore[call-arg, arg-type]
    except ValidationError as exc:
        first = exc.errors()[0]
        variable = PREFIX + str(first["loc"][0]).upper() if first["loc"] else "Settings"
        message = first["msg"].removeprefix("Value error, ")
        raise ConfigError(variable, message + ".", "See .env.example for what it takes.") from None


def _secret(variable: str, given: Mapping[str, str | None]) -> SecretStr:
    """What the file says that this variable names."""
    if given.get(variable.removesuffix(FILE)):
        raise ConfigError(variable, f"and {variable.removesuffix(FILE)} are both set.", "Keep one of them.")
    path = Path(given[variable] or "").expanduser()
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(
            variable, f"{path} cannot be read ({exc}).", "It names a file that holds the secret."
        ) from None
    if not text or "\n" in text:
        said = "is empty" if not text else "has more than one line"
        raise ConfigError(variable, f"{path} {said}.", "The file holds the secret and nothing else.")
    return SecretStr(text)


@lru_cache(maxsize=1)
def settings() -> Settings:
    """This process's settings, read once."""
    return load()
