"""The Droplet's programs and their configuration files: redis, tunnel, gateway, bot and nginx beside the control plane.

One description serves both ways of running: ``aseagi up --profile droplet`` (supervisord, no Docker) and
``droplet/docker-compose.yml``, whose first service calls ``prepare``. Everything but 80, 443 and the tunnel's port
listens on loopback.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from string import Template

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aseagi_tasks.errors import ConfigError
from aseagi_tasks.fleet.authority import Authority
from aseagi_tasks.fleet.enrolment import private
from aseagi_tasks.fleet.tunnel import SERVER_NAME, server_configuration
from aseagi_tasks.settings import Settings, settings

ROOT = Path(__file__).parents[2]
#: Of Redis' memory: 100,000 queued documents take 20 MB, so this is far off; when it is full, writes are refused.
REDIS_BYTES = 300_000_000
#: A certificate that nobody trusts, until certbot has brought one.
PLACEHOLDER_VALID = timedelta(days=30)


def prepare(conf: Settings) -> None:
    """Write every configuration file that the programs read, and what they need that is not there yet.

    May be called again at any time: passwords, certificates and queues that are there stay.

    Raises:
        ConfigError: something is missing that only a person can give.
    """
    _check(conf)
    for name in ("run", "logs", "redis", "secrets", "tls", "acme"):
        (conf.home / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in conf.home.iterdir():  # what lies beside acme/, which nginx' workers reach as www-data
        path.chmod(path.stat().st_mode & 0o700)
    for path in (conf.home, conf.home / "run", conf.home / "acme"):
        path.chmod(0o711)
    _redis(conf)
    _tunnel(conf)
    placeholder(conf)
    (conf.home / "run" / "nginx.conf").write_text(nginx_configuration(conf))


def nginx_configuration(conf: Settings) -> str:
    """``droplet/nginx/nginx.conf``, filled in."""
    prefix = (conf.monitor_url_prefix or "").strip("/")
    values = {
        "USER": "user www-data;" if os.getuid() == 0 else "",
        "RUN": conf.home / "run",
        "ACME": conf.home / "acme",
        "TLS": conf.home / "tls",
        "MIME_TYPES": "/etc/nginx/mime.types",
        "NAME": conf.public_name,
        "HTTP": f"{conf.listen_address}:{conf.http_port}",
        "HTTPS": f"{conf.listen_address}:{conf.https_port}",
        "HTTPS_SUFFIX": "" if conf.https_port == 443 else f":{conf.https_port}",
        "GATEWAY_PORT": conf.gateway_port,
        "BOT_PORT": conf.telegram_webhook_port,
        "MONITOR_PORT": conf.monitor_port,
        "MONITOR_PATH": f"/{prefix}" if prefix else "",
        "MAX_BYTES": conf.max_bytes + (1 << 20),  # a form has more than its file
    }
    return filled(ROOT / "droplet" / "nginx" / "nginx.conf", values)


def filled(path: Path, values: Mapping[str, object]) -> str:
    """A template's text; ``${NAME}`` is ours, ``$name`` is nginx'."""

    class Ours(Template):
        pattern = r"\$(?:(?P<escaped>\$\$)|\{(?P<braced>[A-Z_]+)\}|(?P<named>(?!))|(?P<invalid>(?!)))"  # type: ignore[assignment]

    text = path.read_text()
    return Ours(text).substitute({name: str(value) for name, value in values.items()})


def redis_configuration(conf: Settings) -> str:
    """Loopback only; nobody without a name; every write on disk within a second; nothing is ever evicted."""
    folder = conf.home / "redis"
    return (
        f'bind 127.0.0.1\nport {conf.redis_port}\nprotected-mode yes\ndir "{folder}"\naclfile "{folder}/users.acl"\n'
        f'appendonly yes\nsave ""\nmaxmemory {REDIS_BYTES}\nmaxmemory-policy noeviction\nlist-compress-depth 1\n'
        "tcp-keepalive 20\n"
    )


def _check(conf: Settings) -> None:
    people = conf.monitor_operators
    if people is None or any(len(one.partition(":")[2]) < 12 for one in people.get_secret_value().split(",")):
        raise ConfigError(
            "ASEAGI_MONITOR_OPERATORS",
            "is not set, or a password is shorter than 12 characters; the monitor would face the world.",
            "name:password, for instance in a file named by ASEAGI_MONITOR_OPERATORS_FILE.",
        )


def _redis(conf: Settings) -> None:
    """The control plane's own login; machines get theirs by enrolling, and Redis keeps them in the same file."""
    users = conf.home / "redis" / "users.acl"
    if not users.exists() or not conf.broker_file.exists():
        password = secrets.token_urlsafe(32)
        digest = hashlib.sha256(password.encode()).hexdigest()
        private(users, f"user default off\nuser control on #{digest} ~* &* +@all\n")
        private(conf.broker_file, f"redis://control:{password}@127.0.0.1:{conf.redis_port}/0")
    private(conf.home / "run" / "redis.conf", redis_configuration(conf))


def _tunnel(conf: Settings) -> None:
    """The authority, if there is none yet, and stunnel's configuration."""
    authority, now = Authority(conf.ca_folder), datetime.now(UTC)
    if not authority.exists:
        authority.create(now)
        authority.issue(SERVER_NAME, "server", now)
    text = server_configuration(
        host=conf.listen_address,
        port=conf.tunnel_public_port,
        redis_port=conf.redis_port,
        gateway_port=conf.gateway_port,
        folder=conf.ca_folder,
        pid=conf.tunnel_pid_file,
    )
    (conf.home / "run" / "stunnel.conf").write_text(text)


def placeholder(conf: Settings) -> None:
    """nginx does not start without a certificate, and certbot gets none without nginx."""
    chain, key_file = conf.home / "tls" / "fullchain.pem", conf.home / "tls" / "privkey.pem"
    if chain.exists() and key_file.exists():
        return
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, conf.public_name)])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + PLACEHOLDER_VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(conf.public_name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    private(key_file, pem.decode())
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


if __name__ == "__main__":
    prepare(settings())
