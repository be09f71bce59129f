"""A real stack with a monitor below a path, who asks it, and a real browser: one for all tests of this folder."""

from __future__ import annotations

import json
import shutil
import ssl
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple
from urllib.error import HTTPError

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks.stores.bulk_records import BulkRun, Quote, QuoteLine, Scan
from aseagi_tasks.stores.sqlite_bulk import SqliteBulk
from tests.chain.conftest import Up

PREFIX = "/desk"
OPERATOR, VIEWER = "ann:op3rates", "eve:l00ks"
SECRETS = ("op3rates", "l00ks")
#: No sandbox as root; the rest keeps Chromium from asking for hosts that are not ours.
CHROMIUM = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
]


class Answer(NamedTuple):
    status: int
    body: str
    headers: Any

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Asker:
    """Sends requests as somebody."""

    def __init__(self, base: str, **headers: str) -> None:
        self.base, self.headers = base, headers

    def __call__(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        names = {name.replace("_", "-"): value for name, value in {**self.headers, **headers}.items()}
        request = urllib.request.Request(self.base + path, body, names, method=method)
        try:
            with _opener.open(request, timeout=30) as answer:
                return Answer(answer.status, answer.read().decode("utf-8", "replace"), answer.headers)
        except HTTPError as refused:
            return Answer(refused.code, refused.read().decode("utf-8", "replace"), refused.headers)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any) -> None:
        return None


#: nginx before the monitor has a certificate that nobody knows
UNKNOWN = ssl.create_default_context()
UNKNOWN.check_hostname, UNKNOWN.verify_mode = False, ssl.CERT_NONE
_opener = urllib.request.build_opener(_Stay, urllib.request.HTTPSHandler(context=UNKNOWN))


def basic(who: str) -> str:
    return "Basic " + b64encode(who.encode()).decode()


@pytest.fixture(scope="package")
def up(samples: Path) -> Iterator[Up]:
    """A stack with a monitor below a path that lets in an operator and a viewer, and five documents."""
    with TemporaryDirectory(prefix="aseagi-monitor-", ignore_cleanup_errors=True) as folder:
        wanted = [
            samples / name for name in ("01-motion.pdf", "02-order.pdf", "03-letter.pdf", "06-stamped-filing.pdf")
        ]
        hidden = redacted(Path(folder) / "redacted.pdf")
        settings = {
            "ASEAGI_MONITOR_OPERATORS": OPERATOR,
            "ASEAGI_MONITOR_VIEWERS": VIEWER,
            "ASEAGI_MONITOR_URL_PREFIX": PREFIX.strip("/"),
        }
        with Up(Path(folder), *map(str, [*wanted, hidden]), **settings) as running:
            yield running


def redacted(path: Path) -> Path:
    """A filing with a bar over words that are still in it."""
    canvas = Canvas(str(path), invariant=True)
    canvas.drawString(72, 720, "DECLARATION OF THE PETITIONER")
    canvas.drawString(72, 680, "Case No. 3:24-cv-00042. The address is 12 Hidden Lane in Concealville.")
    canvas.rect(240, 672, 200, 20, fill=1)
    canvas.save()
    return path


@pytest.fixture(scope="package")
def base(up: Up) -> str:
    return f"http://127.0.0.1:{up.port}{PREFIX}"


@pytest.fixture(scope="package")
def operator(base: str) -> Asker:
    return Asker(base, Authorization=basic(OPERATOR))


@pytest.fixture(scope="package")
def viewer(base: str) -> Asker:
    return Asker(base, Authorization=basic(VIEWER))


@pytest.fixture(scope="package")
def ids(operator: Asker) -> dict[str, str]:
    """Document ids by file name."""
    hits = operator("/api/v1/documents?limit=200").json["hits"]
    return {hit["document"]["name"]: hit["document"]["document_id"] for hit in hits}


@pytest.fixture(scope="package")
def paused(up: Up) -> str:
    """A bulk run of very many documents that was paused on its way: its id."""
    records, now = SqliteBulk(up.home / "records.sqlite3"), datetime.now(UTC)
    run_id, prefix = "20261120-120000-abcdef", "raw/Law office/Boxes 1 to 400, scanned in the spring of 2026/"
    records.add_run(BulkRun(run_id=run_id, prefix=prefix, requested_by="ann", created_at=now - timedelta(hours=9)))
    scan = Scan(keys=1_250_000, bytes=10**12, todo=1_000_000, done=200_000, failed=1_200, unrested=3, refused=48_797)
    how = "Of 30 files that were opened, of all sizes, each has 4.2 pages (1 to 310); so many more may others have."
    lines = (
        QuoteLine(what="pages", low=3_900_000, high=4_800_000, unit="pages", how=how),
        QuoteLine(what="Claude", low=9_100, high=14_250.5, unit="USD", how=how),
        QuoteLine(what="hours", low=61, high=140, unit="hours", how=how),
    )
    quote = Quote(
        documents=1_000_000,
        pages=(3_900_000, 4_800_000),
        usd=(9_100, 14_250.5),
        hours=(61, 140),
        document_usd=0.02,
        lines=lines,
    )
    changes = {"scan": scan, "quote": quote, "cap_usd": 12_000.0, "started_at": now - timedelta(hours=8), "fed": 10_000}
    records.move_run(run_id, ["scanning"], "paused", reason="paused by ann", **changes)
    return run_id


def token(up: Up, name: str, *scopes: str) -> str:
    made = up.run("api-token", "add", name, *(word for scope in scopes for word in ("--scope", scope)))
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program is not None
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=CHROMIUM)
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page of an operator's browser, in which no error may show."""
    name, password = OPERATOR.split(":")
    context = browser.new_context(
        http_credentials={"username": name, "password": password}, viewport={"width": 1300, "height": 900}
    )
    context.set_default_timeout(20_000)
    opened = context.new_page()
    problems: list[str] = []
    opened.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    yield opened
    context.close()
    assert problems == []
