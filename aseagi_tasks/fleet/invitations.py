"""Letting a rented machine in, and out: one invitation, three credentials, all of them ended together.

Everything here lives a day at most, so it is kept in Redis, which no machine can read: tokens by their SHA-256 only.

    aseagi:invited:HASH     instance and, once it was used, the key that used it; 15 minutes
    aseagi:gateway:HASH     the instance of a gateway token; a day
    aseagi:admitted:ID      both kinds of keys of an instance, for its end
    aseagi:reported:ID      what the machine last said of itself
"""

from __future__ import annotations

import hashlib
import json
import secrets
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import serialization
from redis import Redis

from aseagi_tasks.errors import NotFound, NotInvited
from aseagi_tasks.fleet import broker_access, tunnel
from aseagi_tasks.fleet.authority import CLIENT_VALID, Authority, request_key

INVITATION_S = 900
_DAY_S = int(CLIENT_VALID.total_seconds())
#: An invitation is used up by the first key that comes with it. The same key may come again: its answer was lost.
_USE = """
local found = redis.call('GET', KEYS[1])
if not found then return false end
local instance, key = string.match(found, '^([^|]*)|(.*)$')
if key ~= '' and key ~= ARGV[1] then return false end
redis.call('SET', KEYS[1], instance .. '|' .. ARGV[1], 'KEEPTTL')
return instance
"""


class Admitted(NamedTuple):
    """A machine's credentials. ``expires`` is in seconds since the epoch."""

    instance: str
    certificate: str
    ca: str
    redis_user: str
    redis_password: str
    gateway_token: str
    expires: float


class Invitations:
    """Who is let in.

    Args:
        redis: as the control plane.
        authority: signs certificates.
        tunnel_pid_file: of the Droplet's end, which reads the list of revocations.
    """

    def __init__(self, redis: Redis, authority: Authority, tunnel_pid_file: Path) -> None:
        self._redis, self._authority, self._pid_file = redis, authority, tunnel_pid_file

    def invite(self, instance_id: str) -> str:
        """A token with which this instance may enroll, once, within 15 minutes."""
        token = secrets.token_urlsafe(32)
        name, instance = f"aseagi:invited:{_hash(token)}", broker_access.check(instance_id)
        with self._redis.pipeline() as pipe:
            pipe.set(name, f"{instance}|", ex=INVITATION_S)
            self._remember(pipe, instance, name)
            pipe.execute()
        return token

    def enroll(self, token: str, request: str, now: datetime) -> Admitted:
        """Trade an invitation and a signing request for credentials.

        Raises:
            BadRequest: the request is no good; the invitation stays.
            NotInvited
        """
        key = request_key(request)
        public = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        name = f"aseagi:invited:{_hash(token)}"
        used: Any = self._redis.eval(_USE, 1, name, hashlib.sha256(public).hexdigest())
        if used is None:
            raise NotInvited
        instance = used.decode()
        certificate = self._authority.sign(request, instance, now)
        password, gateway_token = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
        broker_access.let_in(self._redis, instance, password)
        kept = f"aseagi:gateway:{_hash(gateway_token)}"
        with self._redis.pipeline() as pipe:
            pipe.set(kept, instance, ex=_DAY_S)
            self._remember(pipe, instance, kept)
            pipe.execute()
        ca = self._authority.certificate.read_text()
        expires = now.timestamp() + _DAY_S
        return Admitted(instance, certificate, ca, instance, password, gateway_token, expires)

    def instance_of(self, gateway_token: str) -> str | None:
        """Whose gateway token this is; None if nobody's."""
        found: Any = self._redis.get(f"aseagi:gateway:{_hash(gateway_token)}")
        return None if found is None else found.decode()

    def reporter(self, token: str) -> str | None:
        """Who may report with this token: a gateway token, or an invitation that is not over."""
        invited: Any = self._redis.get(f"aseagi:invited:{_hash(token)}")
        return self.instance_of(token) or (None if invited is None else invited.decode().partition("|")[0])

    def keep_report(self, instance_id: str, report: dict[str, Any]) -> None:
        """Keep what a machine said of itself."""
        body = json.dumps({**report, "at": datetime.now(UTC).isoformat(timespec="seconds")})
        self._redis.set(f"aseagi:reported:{instance_id}", body, ex=2 * _DAY_S)

    def report_of(self, instance_id: str) -> dict[str, Any] | None:
        """What a machine last said of itself."""
        found: Any = self._redis.get(f"aseagi:reported:{instance_id}")
        return None if found is None else json.loads(found)

    def dismiss(self, instance_id: str, now: datetime) -> bool:
        """End all that a machine was given: tokens, Redis user with its connections, certificates. May be repeated.

        What it had taken from the queues goes back into them.

        Returns:
            Whether it had anything.
        """
        listed = f"aseagi:admitted:{broker_access.check(instance_id)}"
        names: Any = self._redis.smembers(listed)
        if names:
            self._redis.delete(*names)
        revoked = []
        with suppress(NotFound):
            revoked = self._authority.revoke(instance_id, now)
        if revoked:
            tunnel.reload(self._pid_file)
        had_user = broker_access.shut_out(self._redis, instance_id)  # last: it ends connections, and none is made anew
        self._redis.delete(listed)
        return bool(names or revoked or had_user)

    def _remember(self, pipe: Any, instance_id: str, name: str) -> None:
        pipe.sadd(f"aseagi:admitted:{instance_id}", name)
        pipe.expire(f"aseagi:admitted:{instance_id}", 2 * _DAY_S)


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
