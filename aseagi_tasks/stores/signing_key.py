"""The operator's Ed25519 key in files: the private one as PKCS #8 in PEM, for its owner's eyes only, the public one
beside it. ``openssl pkey`` reads both.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from aseagi_tasks.errors import ConfigError

_VARIABLE = "ASEAGI_SIGNING_KEY_FILE"


def make_key(path: Path) -> str:
    """Write a new key to ``path`` (mode 0600) and its public half to ``path`` + ``.pub``; the fingerprint.

    Raises:
        ConfigError: one of them is there already, or cannot be written.
    """
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    beside = path.with_name(path.name + ".pub")
    for target, body, mode in ((path, private, 0o600), (beside, public, 0o644)):
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError as exc:
            raise ConfigError(str(target), "is there already.", "Keys are not overwritten.") from exc
        except OSError as exc:
            raise ConfigError(str(target), f"cannot be written: {exc.strerror}.", "Choose another place.") from exc
        with os.fdopen(descriptor, "wb") as file:
            file.write(body)
    return fingerprint(key.public_key())


def load_key(path: Path) -> Ed25519PrivateKey:
    """The key in a file.

    Raises:
        ConfigError: it is not there, others may read it, or it is no such key.
    """
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                cure = f"chmod 600 {path}. If others can have read it, make a new one with `aseagi make-key`."
                raise ConfigError(_VARIABLE, f"{path} can be read by others (mode {mode:o}).", cure)
            body = file.read()
    except OSError as exc:
        cure = "`aseagi make-key PATH` makes one."
        raise ConfigError(_VARIABLE, f"{path} cannot be read: {exc.strerror}.", cure) from exc
    try:
        key = load_pem_private_key(body, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        cure = "`aseagi make-key PATH` makes one."
        raise ConfigError(_VARIABLE, f"{path} holds no Ed25519 key in PEM without a password.", cure)
    return key


def fingerprint_of(given: str) -> str:
    """The fingerprint that ``given`` is, or that of the public key in the file of that name.

    Raises:
        ConfigError: it is neither.
    """
    if re.fullmatch("[0-9a-f]{64}", given.lower()):
        return given.lower()
    try:
        key = load_pem_public_key(Path(given).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PublicKey):
        cure = "Give the .pub file of `aseagi make-key`, or the key's 64 hex digits."
        raise ConfigError("--key", f"{given} holds no public Ed25519 key.", cure)
    return fingerprint(key)


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the public key's 32 bytes, 64 hex digits."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()
