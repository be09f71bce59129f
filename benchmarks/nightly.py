"""A night: a thousand documents that another program put into the bucket, and nobody there to watch.

A real S3 server, Redis, control worker, clock and reading workers; Vast.ai and Anthropic are the local servers of the
tests. Each rented machine is what one runs, as processes of this machine. While they read, one machine is taken away,
Redis is started again, the control worker is killed, and Claude refuses everything for five minutes. Claims: the
night's certificate balances; what was spent is within the quote's upper bound and the cap; nothing is rented at the
end; every document has one outcome.

Prints time and cost of a document by stage, beside the plan that this program replaced (1,000 documents in 10 hours for
$4 of GPU and $20 of everything else).

    python benchmarks/nightly.py [--documents 1000] [--limited 300]     (short: --documents 60 --limited 15)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sqlite3
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import boto3
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.faults.plant import scan
from tests.servers.anthropic import KEY, AnthropicServer
from tests.servers.fleet_stack import FleetStack
from tests.servers.s3 import s3_server
from tests.servers.vast import Machine

BUCKET = "night"
#: Of the plan that this program replaced, for 1,000 documents: hours, USD of GPU, USD of everything else.
OLD_HOURS, OLD_GPU_USD, OLD_REST_USD = 10.0, 4.0, 20.0
CAP_USD = 5.0
#: One document in so many is a picture that must be recognized; one in so many has four pages.
PICTURES, LONG = 20, 10
CALLS = ("autoscale", "reap", "batches", "bulk", "heartbeat")


def paper(folder: Path, number: int, *, pages: int = 1, locked: bool = False) -> Path:
    """A filing like no other."""
    path = folder / f"{number:04} Motion.pdf"
    canvas = Canvas(str(path), encrypt=StandardEncryption("a secret", canPrint=0) if locked else None)
    for page in range(1, pages + 1):
        lines = ["SUPREME COURT OF ATLANTIS", f"Case No. 24-CV-{number:05d}", "ACORN LLC, Plaintiff,", "v."]
        lines += ["BIRCH INC., Defendant.", "MOTION TO DISMISS", "Dated: March 4, 2024", f"Page {page} of {pages}"]
        lines += [f"{place}. The plaintiff's paper of this day says {number * place} things." for place in range(1, 25)]
        for row, line in enumerate(lines):
            canvas.drawString(72, 740 - 20 * row, line)
        canvas.showPage()
    canvas.save()
    return path


def papers(folder: Path, count: int) -> list[Path]:
    """So many files: filings, pictures, one that is locked, one that is there twice."""
    made = [
        scan(folder, f"{number:04} Photo")
        if number % PICTURES == 7
        else paper(folder, number, pages=4 if number % LONG == 3 else 1)
        for number in range(count - 2)
    ]
    twice = folder / "copy of the first.pdf"
    twice.write_bytes(made[0].read_bytes())
    return [*made, paper(folder, count, locked=True), twice]


def answer(body: dict[str, Any]) -> dict[str, Any]:
    """What the model says: what stands there."""
    text = json.dumps(body["messages"])
    number = re.search(r"24-CV-\d{5}", text)
    empty = dict.fromkeys(("document_date", "filed_date", "case_number", "court", "title"))
    said = {
        **{"summary": "A paper of the case.", "relevancy": {"value": 60, "reason": "It is of the case."}},
        **{"language": "en", "parties": [], "people": [], "key_dates": []},
    }
    if number is None:
        return {**said, **empty, "document_type": {"value": "declaration", "quote": "Declaration", "page": 1}}
    return {
        **said,
        **{"document_type": {"value": "motion", "quote": "MOTION TO DISMISS", "page": 1}, "filed_date": None},
        "document_date": {"value": "2024-03-04", "quote": "Dated: March 4, 2024", "page": 1},
        "case_number": {"value": number[0], "quote": f"Case No. {number[0]}", "page": 1},
        "court": {"value": "Supreme Court of Atlantis", "quote": "SUPREME COURT OF ATLANTIS", "page": 1},
        "title": {"value": "Motion to Dismiss", "quote": "MOTION TO DISMISS", "page": 1},
    }


class Night:
    """One night on one stack."""

    def __init__(self, stack: FleetStack, claude: AnthropicServer, limited_s: float) -> None:
        self.stack, self.claude, self.limited_s = stack, claude, limited_s
        os.environ.update(stack.environment)  # before anybody here asks for the settings
        from aseagi_tasks import control
        from aseagi_tasks.bulk import orders

        self.control, self.orders = control, orders
        self.run_id = ""
        self.happened: list[str] = []
        self.began = time.monotonic()

    def show(self) -> dict[str, Any]:
        """The run, as everybody sees it."""
        found: dict[str, Any] = self.orders.show(self.run_id)
        return found

    def begin(self) -> None:
        """What the clock does when it is night."""
        self.control.nightly.delay()
        self.stack.until(lambda: bool(self.orders.listed()), 60, "no night begins")
        self.run_id = self.orders.listed()[0]["run_id"]

    def watch(self, within_s: float) -> dict[str, Any]:
        """Break what is to be broken, until the night is over."""
        deadline, faults = (
            time.monotonic() + within_s,
            list[Callable[[], str | None]]((self.lose, self.restart, self.kill, self.limit)),
        )
        told = 0.0
        while True:
            run = self.show()
            done, of = run["progress"]["done"], run["progress"]["of"] or 1
            share = sum(run["jobs"].get(status, 0) for status in ("completed", "error")) / of
            read = self.count("ocr") / of
            if faults and run["status"] == "running" and max(share, read) >= 0.15 * (5 - len(faults)):
                said = faults[0]()
                if said is not None:
                    faults.pop(0)
                    self.note(said)
            if time.monotonic() > told + 30:
                told = time.monotonic()
                counted = f"{read:.0%} read, {done} of {of} done, ${run['spent_usd']:.4f}"
                self.note(f"{run['status']}: {counted}; {run['progress']['said']}")
            if run["status"] in ("completed", "cancelled"):
                assert not faults, f"over before {[fault.__name__ for fault in faults]}"
                return run
            assert time.monotonic() < deadline, f"{run}\n{self.stack.report()}"
            time.sleep(0.5)

    def lose(self) -> str | None:
        """A machine that works is taken away."""
        working = [rented for rented in self.stack.server.alive() if rented.status == "running"]
        if not working:
            return None
        self.stack.server.preempt(random.Random(1).choice(working).number)
        return "a machine was taken away"

    def restart(self) -> str:
        """Redis goes and comes."""
        self.stack.restart_redis()
        return "Redis was started again"

    def kill(self) -> str:
        """Whoever looks after run, fleet and batches is gone in the middle of it."""
        self.stack.kill_control()
        return "the control worker was killed"

    def limit(self) -> str:
        """Claude refuses everything for a time."""
        self.claude.limited_until = time.monotonic() + self.limited_s
        return f"Claude refuses everything for {self.limited_s:.0f} s"

    def count(self, stage: str) -> int:
        """Documents of which this stage has ended."""
        return int(
            self.rows(
                "SELECT count(DISTINCT job_id) FROM processing_events WHERE kind = 'finished' AND stage = ?", stage
            )[0][0]
        )

    def rows(self, sql: str, *values: Any) -> list[Any]:
        with sqlite3.connect(f"file:{self.stack.home}/records.sqlite3?mode=ro", uri=True, timeout=30) as db:
            return db.execute(sql, values).fetchall()

    def note(self, said: str) -> None:
        print(f"  {time.monotonic() - self.began:6.0f} s  {said}", flush=True)


def table(night: Night, documents: int, seconds: float) -> None:
    """Time and cost by stage, beside the old plan."""
    usd = dict(night.rows("SELECT kind, sum(usd) FROM costs GROUP BY kind"))
    stages = night.rows(
        "SELECT stage, count(*), sum(seconds) FROM processing_events"
        " WHERE kind = 'finished' AND stage IS NOT NULL GROUP BY stage"
    )
    whole = sum(worked for _, _, worked in stages)
    print(f"\n{'stage':<12}{'ended':>7}{'s/document':>12}{'rent $/1,000':>14}{'Claude $/1,000':>16}")
    for stage, ended, worked in sorted(stages, key=lambda row: -row[2]):
        rent = usd.get("gpu", 0.0) * worked / whole
        claude = usd.get("claude", 0.0) if stage == "analyze" else 0.0
        each = f"{1000 * rent / documents:>14.4f}{1000 * claude / documents:>16.4f}"
        print(f"{stage:<12}{ended:>7}{worked / documents:>12.3f}{each}")
    hours, gpu, claude = (
        seconds / 3600 * 1000 / documents,
        *(1000 * usd.get(kind, 0.0) / documents for kind in ("gpu", "claude")),
    )
    print(f"\n{'1,000 documents':<22}{'hours':>9}{'GPU rent':>11}{'the rest':>11}")
    print(f"{'this night':<22}{hours:>9.2f}{'$':>4}{gpu:<8.4f}{'$':>3}{claude:<8.4f}")
    print(f"{'the plan of before':<22}{OLD_HOURS:>9.2f}{'$':>4}{OLD_GPU_USD:<8.2f}{'$':>3}{OLD_REST_USD:<8.2f}")
    ratios = OLD_HOURS / hours, OLD_GPU_USD / max(gpu, 1e-9), OLD_REST_USD / max(claude, 1e-9)
    print(f"{'ratio':<22}{ratios[0]:>8.1f}x{ratios[1]:>10.1f}x{ratios[2]:>10.1f}x")


def main() -> int:
    """Print what happened; 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=1000)
    parser.add_argument("--limited", type=float, default=300, metavar="SECONDS")
    options = parser.parse_args()
    machines = [Machine(number, gpu_usd_per_hour=0.19, boot_s=1.0) for number in range(1, 5)]
    with (
        TemporaryDirectory(prefix="aseagi-night-") as folder,
        s3_server() as address,
        AnthropicServer(answer) as claude,
    ):
        home, incoming = Path(folder) / "home", Path(folder) / "incoming"
        incoming.mkdir()
        keys = {"aws_access_key_id": "night", "aws_secret_access_key": "night", "region_name": "us-east-1"}
        s3 = boto3.client("s3", endpoint_url=address, **keys)
        s3.create_bucket(Bucket=BUCKET)
        for path in papers(incoming, options.documents):
            s3.upload_file(str(path), BUCKET, f"raw/{path.name}")
        now = datetime.now(UTC)
        settings = {
            **{"ASEAGI_STORAGE": "s3", "ASEAGI_BUCKET": BUCKET, "ASEAGI_S3_ENDPOINT_URL": address},
            **{
                "ASEAGI_S3_ACCESS_KEY_ID": "night",
                "ASEAGI_S3_SECRET_ACCESS_KEY": "night",
                "ASEAGI_S3_REGION": "us-east-1",
            },
            **{
                "ASEAGI_ANTHROPIC_API_KEY": KEY,
                "ASEAGI_ANTHROPIC_BASE_URL": claude.url,
                "ASEAGI_CLAUDE_BATCH_WAIT_S": "5",
            },
            **{"ASEAGI_BULK_REST_S": "0", "ASEAGI_NIGHTLY": "on", "ASEAGI_NIGHTLY_USD": str(CAP_USD)},
            **{"ASEAGI_BULK_UNATTENDED_USD": str(CAP_USD), "ASEAGI_LEASE_S": "15", "ASEAGI_REAP_EVERY_S": "2"},
            **{"ASEAGI_NIGHTLY_AT": f"{now:%H:%M}", "ASEAGI_NIGHTLY_UNTIL": f"{now + timedelta(hours=6):%H:%M}"},
            **{"ASEAGI_FLEET_PRICE_CAPS": "RTX 3090:0.30", "ASEAGI_FLEET_USD_PER_HOUR": "1"},
            "ASEAGI_BROKER_TIMEOUT_S": "5",
        }
        with FleetStack(home, machines, idle_s=60, ticks=CALLS, every_s=3, settings=settings) as stack:
            night = Night(stack, claude, options.limited)
            print(f"{options.documents} documents lie in the bucket", flush=True)
            night.begin()
            run = night.watch(900 + 4 * options.documents + options.limited)
            seconds = time.monotonic() - night.began
            stack.until(stack.is_over, 120, "something is still rented")
            stack.reconcile()
            run = night.show()
            digest = [
                line for line in (stack.logs / "control.log").read_text().splitlines() if "certificate" in line.lower()
            ]
            jobs, quote = run["jobs"], run["quote"]
            table(night, options.documents, seconds)
            certificate = json.loads(s3.get_object(Bucket=BUCKET, Key=run["certificate"])["Body"].read())
            spent = sum(usd for _, usd in night.rows("SELECT kind, sum(usd) FROM costs GROUP BY kind"))
            ended = dict(night.rows("SELECT status, count(*) FROM processing_jobs GROUP BY status"))
            requests = sum(len(batch["requests"]) for batch in claude.batches.values())
            low, high = quote["usd"]
            quoted, asked = (
                f"quoted ${low:.4f} to ${high:.4f}",
                f"by {len(claude.batches)} batches, {requests} requests",
            )
            rented, alive = len(stack.server.rented), len(stack.server.alive())
            claims = {
                f"the certificate {run['certificate']} balances": certificate["totals"]["balanced"],
                f"all jobs have ended: {ended}": set(ended) <= {"completed", "error"},
                f"{jobs} of {options.documents} documents, of which one is locked": jobs["completed"]
                == options.documents - 1
                and jobs["error"] == 1,
                f"${spent:.4f} spent, {quoted}": spent <= high,
                f"${spent:.4f} spent, cap ${run['cap_usd']:.2f}": spent <= run["cap_usd"],
                f"{rented} machines were rented, {alive} are alive": rented > 1 and not alive,
                f"Claude was asked {asked}, and refused {claude.limited} calls": requests > 0 < claude.limited,
                f"the operators were told: {digest[-1][-300:] if digest else 'nothing'}": bool(digest),
            }
        hours = quote["hours"]
        print(f"\n{options.documents} documents, {seconds:.0f} s; quoted {hours[0]:.2f} to {hours[1]:.2f} h")
        for line in quote["lines"]:
            print(f"  {line['what']}: {line['low']:g} to {line['high']:g} {line['unit']}. {line['how']}")
        for claim, holds in claims.items():
            print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {claim}")
        return 0 if all(claims.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
