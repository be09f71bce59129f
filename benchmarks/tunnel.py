"""What the tunnel costs: Redis through two stunnels beside plain TCP and Redis' own TLS, all on loopback, as ratios.

    python benchmarks/tunnel.py

Latency is that of one command after the other, throughput that of pipelines, and bulk that of values of 1 MB. Each
round goes through all three ways, so that a busy machine slows all of them; the middle round counts.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from redis import Redis
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))

from aseagi_tasks.fleet.authority import Authority
from aseagi_tasks.fleet.tunnel import SERVER_NAME, client_configuration, server_configuration
from tests.chain.conftest import free_port

ROUNDS = 7


def milliseconds(redis: Redis) -> float:
    """Of one PING, the median of 300."""
    taken = []
    for _ in range(300):
        began = time.perf_counter()
        redis.ping()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken) * 1000


def commands_per_s(redis: Redis) -> float:
    """Messages as Celery's queue has them, 1 KB, in pipelines of 200."""
    began = time.perf_counter()
    for _ in range(20):
        with redis.pipeline(transaction=False) as pipe:
            for _ in range(200):
                pipe.lpush("cpu", b"x" * 1000)
            pipe.execute()
    redis.delete("cpu")
    return 4000 / (time.perf_counter() - began)


def megabytes_per_s(redis: Redis) -> float:
    """Values of 1 MB, there and back."""
    value = b"x" * 1_000_000
    began = time.perf_counter()
    for _ in range(15):
        redis.set("value", value)
        redis.get("value")
    return 30 / (time.perf_counter() - began)


def connects_per_s(redis: Redis) -> float:
    """Connections with their handshakes, each for one PING."""
    began = time.perf_counter()
    for _ in range(20):
        redis.ping()
        redis.connection_pool.disconnect()
    return 20 / (time.perf_counter() - began)


MEASURES: dict[str, Callable[[Redis], float]] = {
    "PING, ms": milliseconds,
    "messages/s": commands_per_s,
    "MB/s": megabytes_per_s,
    "connections/s": connects_per_s,
}


def main() -> None:
    """Start everything, measure, print."""
    folder = Path(tempfile.mkdtemp(prefix="aseagi-tunnel-"))
    plain, native, public, local, gateway = (free_port() for _ in range(5))
    now, ca = datetime.now(UTC), Authority(folder / "ca")
    ca.create(now)
    ca.issue(SERVER_NAME, "server", now)
    certificate, key = ca.issue("i-1", "client", now)
    tls = {"ssl": True, "ssl_ca_certs": str(ca.certificate), "ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
    (folder / "server.conf").write_text(
        server_configuration(
            host="127.0.0.1", port=public, redis_port=plain, gateway_port=gateway, folder=ca.folder, pid=folder / "pid"
        )
    )
    (folder / "client.conf").write_text(
        client_configuration(
            host="127.0.0.1", port=public, local_port=local, gateway_port=gateway,
            certificate=certificate, key=key, ca=ca.certificate,
        )
    )  # fmt: skip
    redis = [shutil.which("redis-server") or "redis-server", "--save", "", "--bind", "127.0.0.1", "--port", str(plain)]
    redis += ["--tls-port", str(native), "--tls-protocols", "TLSv1.3", "--tls-auth-clients", "yes"]
    redis += ["--tls-ca-cert-file", str(ca.certificate), "--tls-cert-file", str(ca.folder / "droplet.pem")]
    redis += ["--tls-key-file", str(ca.folder / "droplet.key")]
    stunnel = shutil.which("stunnel") or shutil.which("stunnel4") or "stunnel"
    commands = [redis, [stunnel, str(folder / "server.conf")], [stunnel, str(folder / "client.conf")]]
    running = [subprocess.Popen(c, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder) for c in commands]
    try:
        time.sleep(1)
        ways = {
            "plain TCP": Redis(port=plain),
            "native TLS": Redis(port=native, ssl_check_hostname=False, **tls),  # type: ignore[arg-type]
            "tunnel": Redis(port=local),
        }
        found: dict[str, dict[str, list[float]]] = {way: {name: [] for name in MEASURES} for way in ways}
        for _ in range(ROUNDS):
            for name, measure in MEASURES.items():
                for way, client in ways.items():
                    found[way][name].append(measure(client))
        table = Table("way", *MEASURES)
        middle = {way: {name: statistics.median(values) for name, values in of.items()} for way, of in found.items()}
        for way, values in middle.items():
            cells = [f"{value:,.3g} ({value / middle['plain TCP'][name]:.2f} x)" for name, value in values.items()]
            table.add_row(way, *cells)
        Console(width=120).print(table)
    finally:
        for process in running:
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
