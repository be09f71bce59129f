"""The rented machine's end of the tunnel: stunnel, TLS 1.3, its own certificate, the Droplet's proven by our CA."""

from __future__ import annotations

from pathlib import Path

#: What the Droplet's certificate for the tunnel is made out to.
SERVER_NAME = "droplet"


def client_configuration(
    *, host: str, port: int, local_port: int, certificate: Path, key: Path, ca: Path, name: str = SERVER_NAME
) -> str:
    """stunnel's configuration: Redis on ``127.0.0.1:local_port``.

    A frozen tunnel is noticed after 10 + 3 · 5 s by keep-alive; what is cut is dialled again by the next connection.
    """
    return f"""foreground = yes
pid =
syslog = no
debug = notice
client = yes
sslVersionMin = TLSv1.3
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
socket = r:SO_KEEPALIVE=1
socket = r:TCP_KEEPIDLE=10
socket = r:TCP_KEEPINTVL=5
socket = r:TCP_KEEPCNT=3

[redis]
accept = 127.0.0.1:{local_port}
connect = {host}:{port}
cert = {certificate}
key = {key}
CAfile = {ca}
verifyChain = yes
checkHost = {name}
TIMEOUTconnect = 10
TIMEOUTclose = 0
"""
