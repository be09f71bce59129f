"""Our own small certificate authority: who may come through the tunnel.

    ca.key, ca.pem      its key (mode 600) and certificate
    issued.json         what was issued and what of it is revoked; the truth from which the list of revocations is made
    crl.pem             that list, as the tunnel's stunnel reads it
    NAME.key, NAME.pem  what was issued with a key made here: the Droplet's own, and the control plane's

Files appear whole. Writers of one folder wait for each other, so a certificate and a revocation are never lost.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from aseagi_tasks.errors import BadRequest, ConfigError, NotFound

Kind = Literal["server", "client"]
CA_VALID = timedelta(days=3650)
#: The Droplet's certificate; `aseagi ca issue` renews it.
SERVER_VALID = timedelta(days=825)
#: A rented machine's. It lives shorter.
CLIENT_VALID = timedelta(hours=24)
#: Clocks of rented hosts go wrong by minutes.
BEFORE = timedelta(minutes=10)
MAX_CSR_BYTES = 10_000


class Issued(NamedTuple):
    """One certificate. ``serial`` is in hex; times are ISO 8601, UTC."""

    serial: str
    name: str
    kind: Kind
    not_after: str
    revoked_at: str | None = None

    def state(self, now: datetime) -> Literal["valid", "expired", "revoked"]:
        """What it is worth now."""
        if self.revoked_at is not None:
            return "revoked"
        return "valid" if datetime.fromisoformat(self.not_after) > now else "expired"


class Authority:
    """The authority in a folder.

    Args:
        folder: made by ``create``.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificate, self.crl = folder / "ca.pem", folder / "crl.pem"
        self._key, self._index, self._lock = folder / "ca.key", folder / "issued.json", folder / ".lock"

    @property
    def exists(self) -> bool:
        """Whether it was made."""
        return self._key.is_file() and self.certificate.is_file()

    def create(self, now: datetime) -> None:
        """Make the authority's key and certificate.

        Raises:
            ConfigError: there is one; a second would shut out all that the first has let in.
        """
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._locked():
            if self.exists:
                raise ConfigError(str(self.folder), "holds a certificate authority already.", "Move it away first.")
            key = ec.generate_private_key(ec.SECP256R1())
            name = _name("ASEAGI rented machines")
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            certificate = (
                _builder(name, name, key.public_key(), now, CA_VALID)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(usage, critical=True)
                .sign(key, hashes.SHA256())
            )
            _write(self._key, _pem(key), 0o600)
            _write(self.certificate, certificate.public_bytes(serialization.Encoding.PEM))
            self._keep([], now)

    def issue(self, name: str, kind: Kind, now: datetime, valid: timedelta | None = None) -> tuple[Path, Path]:
        """Make a key and a certificate for it, here; what had that name stays valid until it is revoked.

        Args:
            name: also the files' name and, of a server, what clients check.
        Returns:
            The certificate's and the key's files.
        """
        if not name or not all(c.isalnum() or c in "-_" for c in name) or name in ("ca", "crl"):
            raise ConfigError(f"The name {name!r}", "cannot be a file's.", "Letters, digits, - and _ only.")
        key = ec.generate_private_key(ec.SECP256R1())
        pem = self._sign(
            name, kind, key.public_key(), now, valid or (SERVER_VALID if kind == "server" else CLIENT_VALID)
        )
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        _write(paths[1], _pem(key), 0o600)
        _write(paths[0], pem)
        return paths

    def sign(self, request: str, name: str, now: datetime, valid: timedelta = CLIENT_VALID) -> str:
        """A client certificate (PEM) for the key in a signing request; nothing else in the request is taken over.

        Args:
            request: PEM. Its subject and extensions do not matter.
            name: the instance, which is the certificate's subject.
        Raises:
            BadRequest: it is no request, not signed by its key, or the key is of another kind.
        """
        return self._sign(name, "client", request_key(request), now, valid).decode()

    def revoke(self, name: str, now: datetime) -> list[Issued]:
        """Revoke what is valid of a name or a serial number, and write the list; the tunnel must read it again.

        Raises:
            NotFound: nothing of this name was ever issued.
        """
        with self._locked():
            all_ = self._issued()
            meant = [one for one in all_ if name in (one.name, one.serial)]
            if not meant:
                raise NotFound(name, "the certificates")
            gone = [one._replace(revoked_at=_iso(now)) for one in meant if one.state(now) == "valid"]
            changed = {one.serial: one for one in gone}
            self._keep([changed.get(one.serial, one) for one in all_], now)
            return gone

    def issued(self) -> list[Issued]:
        """All that is remembered, oldest first: those that expired are dropped a day later.

        Raises:
            ConfigError: there is no authority here.
        """
        with self._locked():
            return self._issued()

    def _sign(
        self,
        name: str,
        kind: Kind,
        key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
        now: datetime,
        valid: timedelta,
    ) -> bytes:
        with self._locked():
            ca_key, ca = self._open()
            server = kind == "server"
            purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
            usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
            builder = (
                _builder(_name(name), ca.subject, key, now, valid)
                .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
                .add_extension(usage, critical=True)
                .add_extension(x509.ExtendedKeyUsage([purpose]), critical=True)
                .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
            )
            if server:
                builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            made = builder.sign(ca_key, hashes.SHA256())
            one = Issued(f"{made.serial_number:x}", name, kind, _iso(made.not_valid_after_utc))
            self._keep([*self._issued(), one], now)  # first: what is not in the index could not be revoked
            return made.public_bytes(serialization.Encoding.PEM)

    def _open(self) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
        self._check()
        key = serialization.load_pem_private_key(self._key.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return key, x509.load_pem_x509_certificate(self.certificate.read_bytes())

    def _issued(self) -> list[Issued]:
        self._check()
        return [Issued(**row) for row in json.loads(self._index.read_text())]

    def _check(self) -> None:
        if not self.exists:
            raise ConfigError(str(self.folder), "holds no certificate authority.", "`aseagi ca init` makes one.")

    def _keep(self, all_: list[Issued], now: datetime) -> None:
        """Write the index, and the list of revocations made from it.

        The list ends with the authority: OpenSSL refuses every certificate once the list is out of date.
        """
        kept = [one for one in all_ if datetime.fromisoformat(one.not_after) > now - timedelta(days=1)]
        ca_key, ca = self._open()
        builder = x509.CertificateRevocationListBuilder(ca.subject, now - BEFORE, ca.not_valid_after_utc)
        for one in kept:
            if one.revoked_at is not None:
                when = datetime.fromisoformat(one.revoked_at)
                revoked = x509.RevokedCertificateBuilder(int(one.serial, 16), when).build()
                builder = builder.add_revoked_certificate(revoked)
        _write(self._index, json.dumps([one._asdict() for one in kept], indent=1).encode())
        _write(self.crl, builder.sign(ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if not self.folder.is_dir():
            self._check()
        with self._lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def request_key(pem: str) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    """The key of a signing request.

    Raises:
        BadRequest: it is no request, it is not signed by its key, or the key is of another kind than P-256 or Ed25519.
    """
    if len(pem) > MAX_CSR_BYTES:
        raise BadRequest("it is too long")
    try:
        request = x509.load_pem_x509_csr(pem.encode())
        key, is_signed = request.public_key(), request.is_signature_valid
    except Exception as exc:  # the parser's errors are of many kinds
        raise BadRequest("it cannot be read") from exc
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        wanted: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey = key
    elif isinstance(key, ed25519.Ed25519PublicKey):
        wanted = key
    else:
        raise BadRequest("its key is neither P-256 nor Ed25519")
    if not is_signed:
        raise BadRequest("it is not signed by its own key")
    return wanted


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey,
    now: datetime,
    valid: timedelta,
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key, x509.random_serial_number())
    builder = builder.not_valid_before(now - BEFORE).not_valid_after(now + valid)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, plain)


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _write(path: Path, body: bytes, mode: int = 0o644) -> None:
    """Whole or not at all, and never readable by more than ``mode`` says."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
