"""The certificate authority: what it signs and what it does not, and that nothing of it is lost."""

from __future__ import annotations

import base64
import json
import multiprocessing
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from typer.testing import CliRunner

from aseagi_tasks.doors.cli import app
from aseagi_tasks.errors import BadRequest, ConfigError, NotFound
from aseagi_tasks.fleet.authority import Authority
from aseagi_tasks.settings import settings

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def ca(tmp_path: Path) -> Authority:
    made = Authority(tmp_path / "ca")
    made.create(NOW)
    return made


def request(key: object, name: str = "whoever", **extensions: bool) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if extensions.get("ca"):
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("droplet")]), critical=False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()  # type: ignore[arg-type]


def verified(ca: Authority, certificate: Path, purpose: str) -> str:
    """What OpenSSL says of a certificate, with the list of revocations."""
    ran = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-crl_check", "-CRLfile", str(ca.crl), "-CAfile", str(ca.certificate),
         "-purpose", purpose, str(certificate)],
        capture_output=True, text=True,
    )  # fmt: skip
    return "OK" if ran.returncode == 0 else ran.stdout + ran.stderr


def test_openssl_takes_what_is_issued_for_its_purpose_only(ca: Authority, tmp_path: Path) -> None:
    server, key = ca.issue("droplet", "server", NOW)
    client, _ = ca.issue("worker", "client", NOW)
    assert verified(ca, server, "sslserver") == verified(ca, client, "sslclient") == "OK"
    assert "purpose" in verified(ca, server, "sslclient")
    assert "purpose" in verified(ca, client, "sslserver")
    assert [path.name for path in ca.folder.iterdir() if path.stat().st_mode & 0o077 and path.suffix == ".key"] == []
    assert key.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("kind", ["P-256", "Ed25519"])
def test_request_gives_its_key_and_nothing_else(ca: Authority, kind: str, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1()) if kind == "P-256" else ed25519.Ed25519PrivateKey.generate()
    pem = ca.sign(request(key, "droplet", ca=True), "i-1", NOW)
    made = x509.load_pem_x509_certificate(pem.encode())
    assert made.public_key() == key.public_key()
    assert made.subject.rfc4514_string() == "CN=i-1"
    assert not made.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    with pytest.raises(x509.ExtensionNotFound):
        made.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert made.not_valid_after_utc == NOW + timedelta(hours=24)
    (tmp_path / "c.pem").write_text(pem)
    assert verified(ca, tmp_path / "c.pem", "sslclient") == "OK"


def forged() -> str:
    """A request for somebody else's key: signed by another."""
    mine, theirs = (request(ec.generate_private_key(ec.SECP256R1())) for _ in range(2))
    one, other = (x509.load_pem_x509_csr(pem.encode()) for pem in (mine, theirs))
    der = one.public_bytes(serialization.Encoding.DER)
    swapped = der.replace(one.signature, other.signature) if len(one.signature) == len(other.signature) else der[:-3]
    kind = "CERTIFICATE REQUEST"
    return f"-----BEGIN {kind}-----\n{base64.b64encode(swapped).decode()}\n-----END {kind}-----\n"


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: request(rsa.generate_private_key(65537, 2048)), "neither P-256 nor Ed25519"),
        (lambda: request(ec.generate_private_key(ec.SECP384R1())), "neither P-256 nor Ed25519"),
        (forged, "not signed by its own key|cannot be read"),
        (lambda: "no request", "cannot be read"),
        (lambda: "-----BEGIN CERTIFICATE REQUEST-----\n" + "A" * 20_000, "too long"),
    ],
)
def test_bad_request_is_refused_and_leaves_no_trace(ca: Authority, made: object, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        ca.sign(made(), "i-1", NOW)  # type: ignore[operator]
    assert ca.issued() == []


def test_revoked_is_refused_by_name_or_serial_and_others_are_not(ca: Authority) -> None:
    first, _ = ca.issue("i-1", "client", NOW)
    kept = first.with_name("first.pem")
    first.rename(kept)
    second, _ = ca.issue("i-1", "client", NOW)
    third, _ = ca.issue("i-2", "client", NOW)
    serial = f"{x509.load_pem_x509_certificate(kept.read_bytes()).serial_number:x}"
    assert [one.serial for one in ca.revoke(serial, NOW)] == [serial]
    assert "revoked" in verified(ca, kept, "sslclient")
    assert verified(ca, second, "sslclient") == "OK"
    assert [one.name for one in ca.revoke("i-1", NOW)] == ["i-1"]
    assert ca.revoke("i-1", NOW) == []
    assert "revoked" in verified(ca, second, "sslclient")
    assert verified(ca, third, "sslclient") == "OK"
    with pytest.raises(NotFound):
        ca.revoke("nobody", NOW)


def test_list_of_revocations_does_not_run_out_and_forgets_what_expired(ca: Authority) -> None:
    ca.issue("i-1", "client", NOW)
    ca.revoke("i-1", NOW)
    later = NOW + timedelta(days=3)
    ca.issue("i-2", "client", later)
    crl = x509.load_pem_x509_crl(ca.crl.read_bytes())
    assert len(crl) == 0
    assert crl.next_update_utc is not None
    assert crl.next_update_utc > NOW + timedelta(days=3000)
    assert [(one.name, one.state(later)) for one in ca.issued()] == [("i-2", "valid")]


def take_part(folder: Path, number: int) -> None:
    ca = Authority(folder)
    for turn in range(5):
        ca.issue(f"w{number}-{turn}", "client", NOW)
        if turn % 2:
            ca.revoke(f"w{number}-{turn}", NOW)


def test_writers_at_once_lose_no_certificate_and_no_revocation(ca: Authority) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=take_part, args=(ca.folder, number)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert [writer.exitcode for writer in writers] == [0] * 4
    states = [one.state(NOW) for one in ca.issued()]
    assert (len(states), states.count("revoked")) == (20, 8)
    assert len(x509.load_pem_x509_crl(ca.crl.read_bytes())) == 8


def test_second_authority_and_none_are_errors_that_name_the_cure(ca: Authority, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="already"):
        ca.create(NOW)
    with pytest.raises(ConfigError, match="aseagi ca init"):
        Authority(tmp_path / "none").issue("a", "client", NOW)
    for name in ("", "../x", "ca", "a b"):
        with pytest.raises(ConfigError, match="name"):
            ca.issue(name, "client", NOW)


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASEAGI_HOME", str(tmp_path))
    settings.cache_clear()
    run = CliRunner().invoke
    try:
        assert run(app, ["ca", "init"]).exit_code == 0
        assert (tmp_path / "ca" / "droplet.pem").is_file()
        assert (tmp_path / "ca" / "ca.key").stat().st_mode & 0o777 == 0o600
        made = json.loads(run(app, ["ca", "issue", "somebody", "--hours", "1", "--json"]).stdout)
        assert Path(made["certificate"]).is_file()
        gone = json.loads(run(app, ["ca", "revoke", "somebody", "--json"]).stdout)
        assert (len(gone["revoked"]), gone["tunnel_told"]) == (1, False)
        shown = json.loads(run(app, ["ca", "list", "--json"]).stdout)
        assert [one["name"] for one in shown] == ["droplet"]
        assert "revoked" in run(app, ["ca", "list", "--all"]).stdout
    finally:
        settings.cache_clear()
