"""The other side of a rented machine: enrolment, reports, a redis, and stunnel in front of it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from redis import Redis, RedisError

from tests.chain.conftest import free_port
from tests.instance.conftest import until

TOKEN = "bootstrap-token-of-one-launch"
PASSWORD = "password-of-one-instance"
GATEWAY_TOKEN = "gateway-token-of-one-instance"


class ControlPlane:
    """Loopback only. ``answers``: status of the next enrolments; 200 when they are used up."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.redis_port, self.tunnel_port = folder, free_port(), free_port()
        self.answers: list[int] = []
        self._ended, self._clock = threading.Event(), None  # type: tuple[threading.Event, threading.Thread | None]
        self.enrolled: list[dict[str, Any]] = []
        self.reports: list[dict[str, Any]] = []
        self._ca_key = ec.generate_private_key(ec.SECP256R1())
        self._ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ASEAGI test")])
        self._ca = self._sign(self._ca_name, self._ca_key.public_key(), is_ca=True)
        key = ec.generate_private_key(ec.SECP256R1())
        droplet = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "droplet")])
        (folder / "droplet.pem").write_bytes(pem_of(key) + self._sign(droplet, key.public_key(), host="droplet"))
        (folder / "ca.pem").write_bytes(self._ca)
        self._redis = subprocess.Popen(
            [shutil.which("redis-server") or "", "--bind", "127.0.0.1", "--port", str(self.redis_port), "--save", ""],
            stdout=subprocess.DEVNULL, cwd=folder,
        )  # fmt: skip
        self.redis = Redis(port=self.redis_port)
        until(self._redis_answers)
        self.redis.acl_setuser(
            "instance-1", enabled=True, passwords=[f"+{PASSWORD}"], keys="*", channels="*", commands=["+@all"]
        )
        for queue in ("cpu", "gpu", "claude"):  # as the control plane's worker declares them
            self.redis.sadd(f"_kombu.binding.{queue}", f"{queue}\x06\x16\x06\x16{queue}")
        self._stunnel: subprocess.Popen[bytes] | None = None
        self.open_tunnel()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def open_tunnel(self) -> None:
        conf = self.folder / "stunnel.conf"
        lines = (
            "foreground = yes",
            "pid =",
            "syslog = no",
            "sslVersionMin = TLSv1.3",
            "[redis]",
            f"accept = 127.0.0.1:{self.tunnel_port}",
            f"connect = 127.0.0.1:{self.redis_port}",
            f"cert = {self.folder}/droplet.pem",
            f"CAfile = {self.folder}/ca.pem",
            "verifyChain = yes",
            "requireCert = yes",
        )
        conf.write_text("\n".join(lines) + "\n")
        with (self.folder / "stunnel.log").open("ab") as log:
            self._stunnel = subprocess.Popen([shutil.which("stunnel") or "", str(conf)], stdout=log, stderr=log)

    def cut_tunnel(self) -> None:
        if self._stunnel is not None:
            self._stunnel.kill()
            self._stunnel.wait()

    def beat(self) -> None:
        self.redis.set("aseagi:heartbeat", str(time.time()))

    def beats(self) -> None:
        """Give a sign of life every tenth of a second, until the end."""

        def go_on() -> None:
            while not self._ended.wait(0.1):
                self.beat()

        self._clock = threading.Thread(target=go_on)
        self._clock.start()

    def states(self) -> list[str]:
        return [report["state"] for report in self.reports]

    def close(self) -> None:
        self._ended.set()
        if self._clock is not None:
            self._clock.join()
        self._server.shutdown()
        self._server.server_close()
        self.cut_tunnel()
        self._redis.kill()
        self._redis.wait()

    def _redis_answers(self) -> bool:
        try:
            return bool(self.redis.ping())
        except RedisError:
            return False

    def _sign(
        self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, is_ca: bool = False, host: str | None = None
    ) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder(self._ca_name, name, key, x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        )
        if host:
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        return builder.sign(self._ca_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _enroll(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        status = self.answers.pop(0) if self.answers else 200
        if body["token"] != TOKEN or status != 200:
            return (status if status != 200 else 403), {"error": "this token is used up"}
        self.enrolled.append(body)
        csr = x509.load_pem_x509_csr(body["csr"].encode())
        key = csr.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return 200, {
            "instance": "instance-1",
            "certificate": self._sign(csr.subject, key).decode(),
            "ca": self._ca.decode(),
            "redis_user": "instance-1",
            "redis_password": PASSWORD,
            "gateway_token": GATEWAY_TOKEN,
            "tunnel_host": "127.0.0.1",
            "tunnel_port": self.tunnel_port,
            "expires": time.time() + 86_400,
            "settings": {},
        }

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        plane = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if self.path == "/enroll":
                    status, answer = plane._enroll(body)
                else:
                    assert self.path == "/instances/report"
                    plane.reports.append({**body, "bearer": self.headers["Authorization"]})
                    status, answer = 204, {}
                self.send_response(status)
                self.end_headers()
                if status != 204:
                    self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_arguments: object) -> None:
                pass

        return Handler


def pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
