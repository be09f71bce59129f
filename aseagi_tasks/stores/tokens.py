"""Tokens for Supabase: who may do what, and until when. The database's policies read the claims."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

import jwt

Role = Literal["worker", "viewer"]


def make_token(secret: str, role: Role, *, now: datetime, valid_for: timedelta, instance_id: str | None = None) -> str:
    """A signed token (HS256) for one of our roles.

    Args:
        secret: the project's JWT secret.
        instance_id: the rented instance a worker's token is for; it opens the jobs that were given to that one.
    Raises:
        ValueError: a worker without an instance, or a viewer with one.
    """
    if (role == "worker") != (instance_id is not None):
        raise ValueError("a worker's token names its instance; a viewer's does not")
    claims: dict[str, Any] = {"role": f"aseagi_{role}", "iat": now, "exp": now + valid_for}
    if instance_id is not None:
        claims["instance"] = instance_id
    return jwt.encode(claims, secret, algorithm="HS256")
