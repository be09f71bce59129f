"""The tunnel: stunnel on both sides, TLS 1.3, certificates of our own authority on both sides.

One port for the world: what the client asks for by name (SNI) is Redis or the worker gateway, both on the Droplet's
loopback. A frozen connection is noticed after 10 + 3 x 5 s by keep-alive; one that was frozen while something was on
its way is not asked by keep-alive, and the kernel gives it up after 15 minutes: ``SYSCTLS`` makes that 25.4 s. What
was cut is dialled again by the next connection. Nothing is resumed: a ticket would let in whoever was revoked since.
"""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

#: What the Droplet's certificate for the tunnel is made out to.
SERVER_NAME = "droplet"
#: The name of the gateway's service, in the client's greeting.
GATEWAY_NAME = "gateway"
#: For the Droplet's kernel. On a rented machine, where none can be set, clients' own time-outs do it.
SYSCTLS = {"net.ipv4.tcp_retries2": "6"}

_COMMON = """foreground = yes
syslog = no
debug = notice
sslVersionMin = TLSv1.3
sessionResume = no
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
socket = {outside}:SO_KEEPALIVE=1
socket = {outside}:TCP_KEEPIDLE=10
socket = {outside}:TCP_KEEPINTVL=5
socket = {outside}:TCP_KEEPCNT=3
"""


def client_configuration(
    *,
    host: str,
    port: int,
    local_port: int,
    gateway_port: int,
    certificate: Path,
    key: Path,
    ca: Path,
    name: str = SERVER_NAME,
) -> str:
    """The rented machine's end: Redis on ``127.0.0.1:local_port``, the gateway on ``127.0.0.1:gateway_port``."""
    services = ""
    for service, accept, asked in (("redis", local_port, ""), ("gateway", gateway_port, GATEWAY_NAME)):
        services += f"""
[{service}]
accept = 127.0.0.1:{accept}
connect = {host}:{port}
sni = {asked}
cert = {certificate}
key = {key}
CAfile = {ca}
verifyChain = yes
checkHost = {name}
TIMEOUTconnect = 10
TIMEOUTclose = 0
"""
    return _COMMON.format(outside="r") + "pid =\nclient = yes\n" + services


def server_configuration(*, host: str, port: int, redis_port: int, gateway_port: int, folder: Path, pid: Path) -> str:
    """The Droplet's end.

    Args:
        host: where it listens; empty for everywhere.
        folder: of the certificate authority; see ``authority.py``.
        pid: file for the process id: SIGHUP makes it read the list of revocations again.
    """
    proof = f"""cert = {folder / SERVER_NAME}.pem
key = {folder / SERVER_NAME}.key
CAfile = {folder / "ca.pem"}
CRLfile = {folder / "crl.pem"}
verifyChain = yes
requireCert = yes
TIMEOUTclose = 0
TIMEOUTbusy = 10
"""
    return f"""{_COMMON.format(outside="l")}pid = {pid}

[redis]
accept = {f"{host}:" if host else ""}{port}
connect = 127.0.0.1:{redis_port}
{proof}
[gateway]
sni = redis:{GATEWAY_NAME}
connect = 127.0.0.1:{gateway_port}
{proof}"""


def reload(pid_file: Path) -> bool:
    """Make the Droplet's end read certificates and revocations again. Connections that are open stay open.

    Returns:
        False if none runs.
    """
    with suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if Path(f"/proc/{pid}/comm").read_text().startswith("stunnel"):  # a number may have come to mean another
            os.kill(pid, signal.SIGHUP)
            return True
    return False
