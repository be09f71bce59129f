"""``python -m aseagi_tasks.doors.gateway``: serve on loopback until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any

from tornado.httpserver import HTTPServer

from aseagi_tasks import services
from aseagi_tasks.doors.gateway.app import MAX_BODY, Parts, application
from aseagi_tasks.doors.gateway.claude import ClaudeProxy
from aseagi_tasks.doors.gateway.narrowing import Narrowed
from aseagi_tasks.fleet.worker import Presence
from aseagi_tasks.notices import notice
from aseagi_tasks.settings import Settings, settings

#: A kept connection on which nothing comes is closed.
IDLE_S = 60


def parts(conf: Settings) -> Parts:
    """The gateway's, from settings."""
    records, storage, redis = services.records(), services.storage(), services.redis()
    claude = ClaudeProxy(conf, records, redis, services.tell_once)

    def side(instance_id: str) -> Narrowed:
        return Narrowed(instance_id, records, storage, conf, services.tell_once, claude.for_batch)

    def told(instance_id: str, report: dict[str, Any]) -> None:
        if report.get("state") == "failed":
            # it may have failed before it could say so in Redis, where the autoscaler hears it
            why = f"{report.get('step')}: {report.get('detail')}"[:500]
            Presence(redis).say(instance_id, step="failed", why=why)
            said = {"instance": instance_id, "step": report.get("step"), "why": report.get("detail")}
            services.tell_once(f"failed:{instance_id}", notice("machine_failed", **said))

    return Parts(
        conf=conf,
        redis=redis,
        invitations=services.invitations(),
        side=side,
        claude=claude,
        analyzed_job=lambda instance_id: side(instance_id).analyzed_job(),
        given=given(conf),
        told=told,
    )


def given(conf: Settings) -> dict[str, str]:
    """Settings for a machine's workers: what decides results, and that everything goes through the gateway."""
    names = (
        *("claude_model", "claude_document_usd", "claude_look_again_s", "claude_batches"),
        *("ocr_languages", "hidden_text", "dpi"),
        *("max_bytes", "max_pages", "max_page_pixels", "render_timeout_s"),
        *("lease_s", "stage_limit_s", "page_limit_s", "broker_timeout_s"),
    )
    same = {f"ASEAGI_{name.upper()}": str(getattr(conf, name)) for name in names}
    ways = {"ASEAGI_STORAGE": "gateway", "ASEAGI_RECORDS": "gateway", "ASEAGI_ANALYST": conf.analyst_in_use}
    return {**same, **ways, "ASEAGI_BUCKET": conf.bucket}


async def serve(conf: Settings) -> None:
    """Listen until SIGTERM or SIGINT; calls that are under way are answered."""
    server = HTTPServer(application(parts(conf)), max_body_size=MAX_BODY, idle_connection_timeout=IDLE_S)
    server.listen(conf.gateway_port, "127.0.0.1")
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    logging.getLogger("aseagi.gateway").info("listens on 127.0.0.1:%s", conf.gateway_port)
    await ended.wait()
    server.stop()
    await asyncio.wait_for(server.close_all_connections(), 10)


def main() -> None:
    """Serve with this process's settings."""
    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.INFO, stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(serve(settings()))


if __name__ == "__main__":
    main()
