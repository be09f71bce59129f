"""The monitor below a path behind nginx, with the configuration that the Droplet has."""

from __future__ import annotations

import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from playwright.sync_api import Browser, expect

from aseagi_tasks.doors.droplet import nginx_configuration, placeholder
from aseagi_tasks.settings import Settings
from tests.chain.conftest import Up, free_port, until
from tests.chain.monitor.conftest import OPERATOR, PREFIX, UNKNOWN, Asker, basic
from tests.unit.test_sent_files import form

#: What pages lead to: everything below the path, or on the same page.
_LINKS = re.compile(r'\b(?:href|src|action|data-live)="([^"]*)"')


@pytest.fixture(scope="module")
def outside(up: Up) -> Iterator[str]:
    """nginx' address, with the path."""
    with TemporaryDirectory(prefix="aseagi-nginx-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        for name in ("run", "tls", "acme"):
            (home / name).mkdir(mode=0o711)
        conf = Settings(
            home=home,
            listen_address="127.0.0.1",
            http_port=free_port(),
            https_port=free_port(),
            monitor_port=up.port,
            monitor_url_prefix=PREFIX.strip("/"),
        )
        placeholder(conf)
        (home / "run" / "nginx.conf").write_text(nginx_configuration(conf))
        with (home / "log").open("wb") as log:
            command = ["nginx", "-e", "stderr", "-c", str(home / "run" / "nginx.conf")]
            process = subprocess.Popen(command, stdout=log, stderr=log)
        address = f"https://localhost:{conf.https_port}"
        try:
            until(lambda: answers(f"{address}/alive"), (home / "log").read_text)
            yield address + PREFIX
        finally:
            process.terminate()
            process.wait(30)


def answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5, context=UNKNOWN).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def person(outside: str) -> Asker:
    return Asker(outside, Authorization=basic(OPERATOR))


def test_every_link_stays_below_the_path(outside: str, person: Asker, ids: dict[str, str]) -> None:
    nobody = Asker(outside)
    assert nobody("/").status == 401 and "Basic" in nobody("/").headers["WWW-Authenticate"]
    assert Asker(outside.removesuffix(PREFIX))("/documents").status == 404
    for path in ("/", ""):
        assert person(path).headers["Location"] == f"{PREFIX}/documents"
    for path in (
        "/documents",
        f"/documents/{ids['02-order.pdf']}",
        "/jobs",
        "/costs",
        "/instances",
        "/workers",
        "/tasks",
    ):
        page = person(path)
        assert page.status == 200 and page.headers["Strict-Transport-Security"]
        links = [link for link in _LINKS.findall(page.body) if not link.startswith(("?", "#", "https://", "mailto:"))]
        assert len(links) > 8 and all(link.startswith(f"{PREFIX}/") for link in links if link), (path, links)
    files = {link.removeprefix(PREFIX) for link in links if "/static/" in link or "/ours/" in link}
    assert len(files) > 8 and all(person(path).status == 200 for path in files), files


def test_api_names_addresses_that_are_reached_from_outside(outside: str, person: Asker, ids: dict[str, str]) -> None:
    assert person("/api/v1/openapi.json").json["servers"] == [{"url": "/api/v1"}]
    url = person(f"/api/v1/documents/{ids['02-order.pdf']}/url/ocr.txt").json["url"]
    assert url.startswith(f"{outside}/documents/")
    assert "TAMSWORTH" in person(url.removeprefix(outside)).body.upper()


def test_hundreds_of_jobs_are_chosen_from_outside(person: Asker) -> None:
    ended = person("/api/v1/jobs?status=completed").json["jobs"][0]["job_id"]
    chosen = person("/jobs", "POST", f"action=cancel{500 * f'&job={ended}'}".encode())
    assert chosen.status == 302, chosen.body
    assert person(chosen.headers["Location"].removeprefix(PREFIX)).status == 200


def test_changes_are_heard_at_once(outside: str, person: Asker) -> None:
    request = urllib.request.Request(f"{outside}/live", headers=person.headers)
    with urllib.request.urlopen(request, timeout=30, context=UNKNOWN) as stream:
        # the stream stays open for minutes: who hears this hears what is said when it is said
        assert stream.readline() == b"retry: 2000\n"


def test_file_is_sent_through(outside: str, person: Asker, samples: Path) -> None:
    body = form({"through nginx.pdf": (samples / "03-letter.pdf").read_bytes()}, boundary="x")
    sent = person("/documents", "POST", body, Content_Type="multipart/form-data; boundary=x")
    assert sent.status == 302 and sent.headers["Location"].startswith(f"{PREFIX}/jobs?ids=")
    assert person("/api/v1/documents?name=again.pdf", "POST", (samples / "03-letter.pdf").read_bytes()).status == 201
    until(lambda: not person("/api/v1/jobs?status=processing").json["jobs"], lambda: "jobs go on")
    large = bytes(3_000_000)
    assert {person(path, "POST", large).status for path in ("/bulk/files", "/api/v1/documents")} == {400}
    assert person("/bulk", "POST", large).status == 413, "it would be kept in memory, whoever sent it"


def test_person_searches_and_changes_from_outside(browser: Browser, outside: str) -> None:
    name, password = OPERATOR.split(":")
    context = browser.new_context(http_credentials={"username": name, "password": password}, ignore_https_errors=True)
    page = context.new_page()
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.goto(f"{outside}/documents")
    page.get_by_role("searchbox").press_sequentially("interrog*")
    expect(page.locator("mark").first).to_be_visible()
    page.goto(f"{outside}/jobs")
    expect(page.locator("[data-live-state]")).to_have_text("Live")
    page.goto(f"{outside}/jobs?status=completed")
    page.locator(".a-table a").first.click()
    page.get_by_role("button", name="Again").click()
    expect(page.get_by_text("Chosen jobs")).to_be_visible()
    assert page.url.startswith(f"{outside}/jobs") and problems == []
    context.close()
