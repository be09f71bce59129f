"""A rented machine and the control plane: a bootstrap token becomes credentials, and what happens is reported.

The private key is made here and never leaves. Token, passwords and key are in files of mode 600, which nothing but
this machine's worker reads, and in no command line and no log.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from aseagi_tasks.errors import EnrolmentRefused, TransientError
from aseagi_tasks.fleet.marks import write

CALL_TIMEOUT_S = 15.0
#: Between tries when the control plane does not answer.
PAUSE_S = 2.0


class Enrolment(NamedTuple):
    """What the control plane gave this machine; all of it ends with the machine.

    ``settings`` are for its workers: how they read, and that bucket, records and Claude are reached by the gateway.
    """

    instance: str
    certificate: str
    ca: str
    redis_user: str
    redis_password: str
    gateway_token: str
    tunnel_host: str
    tunnel_port: int
    expires: float
    settings: dict[str, str]


class ControlPlane:
    """The calls of a rented machine outside the tunnel.

    Args:
        url: https address of the Droplet.
        ca_file: who signed the Droplet's certificate, where the system does not know.
    """

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        import ssl

        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._client = httpx.Client(base_url=url, timeout=CALL_TIMEOUT_S, verify=context)

    def enroll(self, token: str, csr: str) -> dict[str, Any]:
        """Trade a bootstrap token for credentials. Tried until it is answered; the caller sets the limit.

        Raises:
            EnrolmentRefused: the token is used up, too old or unknown, or the request is no good.
        """
        while True:
            try:
                answer: dict[str, Any] = self._post("/enroll", {"token": token, "csr": csr}).json()
                return answer
            except TransientError:
                time.sleep(PAUSE_S)

    def report(self, bearer: str, body: dict[str, object]) -> None:
        """Tell what happened to this machine.

        Args:
            bearer: the gateway token, or the bootstrap token while there is none.
        Raises:
            EnrolmentRefused, TransientError: it was not heard.
        """
        self._post("/instances/report", body, {"Authorization": f"Bearer {bearer}"})

    def _post(self, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> httpx.Response:
        try:
            answer = self._client.post(path, json=body, headers=headers)
        except httpx.HTTPError as exc:
            raise TransientError(f"The control plane did not answer: {type(exc).__name__}: {exc}") from exc
        if answer.status_code == 429 or answer.status_code >= 500:
            raise TransientError(f"The control plane answered HTTP {answer.status_code}.")
        if not answer.is_success:
            raise EnrolmentRefused(path, f"HTTP {answer.status_code} {answer.text[:300]}")
        return answer


class Credentials:
    """The worker's folder of secrets.

    Args:
        folder: of the instance; ``worker/`` below it is the worker's alone.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "worker"
        self.key, self.certificate, self.ca = (self.folder / name for name in ("key.pem", "certificate.pem", "ca.pem"))
        self.broker_url, self.gateway_token = self.folder / "broker_url", self.folder / "gateway_token"

    def request(self, name: str) -> str:
        """A signing request (PEM) for a fresh key; the key goes to disk first."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = ec.generate_private_key(ec.SECP256R1())
        form = serialization.PrivateFormat.PKCS8
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        private(self.key, pem.decode())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        csr = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
        return csr.public_bytes(serialization.Encoding.PEM).decode()

    def keep(self, enrolment: Enrolment, tunnel_port: int) -> None:
        """Put everything where workers and tunnel read it."""
        private(self.certificate, enrolment.certificate)
        private(self.ca, enrolment.ca)
        login = f"{enrolment.redis_user}:{enrolment.redis_password}"
        private(self.broker_url, f"redis://{login}@127.0.0.1:{tunnel_port}/0")
        private(self.gateway_token, enrolment.gateway_token)
        private(self.folder / "enrolment.json", json.dumps(enrolment._asdict()))

    def kept(self, now: float) -> Enrolment | None:
        """What an earlier life of this container was given, if it holds for another hour."""
        try:
            enrolment = Enrolment(**json.loads((self.folder / "enrolment.json").read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return enrolment if enrolment.expires > now + 3600 and self.key.exists() else None


def private(path: Path, text: str) -> None:
    """Write a file that only its owner reads."""
    before = os.umask(0o077)
    try:
        write(path, text)
    finally:
        os.umask(before)
