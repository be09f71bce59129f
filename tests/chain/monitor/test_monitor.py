"""The monitor in front of a real stack: who is let in, what the API answers, what a person does in a real browser."""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from playwright.sync_api import Browser, Page, expect
from reportlab.pdfgen.canvas import Canvas
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance, unsupported_method

from aseagi_tasks.doors.monitor.bulk import IDENT
from aseagi_tasks.stores.sqlite import SqliteRecords
from tests.chain.conftest import WAIT_S, Up, until
from tests.chain.monitor.conftest import OPERATOR, PREFIX, SECRETS, VIEWER, Asker, basic, token
from tests.chain.monitor.screens import keep, serious

#: Of a bulk run that there is not.
NO_RUN = "20200101-000000-abcdef"


def addresses(up: Up) -> list[str]:
    """Every address in the table that the running monitor has, with something in place of what is open in it."""
    code = (
        "import sys; sys.path.insert(0, '.'); import runpy; runpy.run_path('flower/flowerconfig.py');"
        "import flower.urls, json; print(json.dumps([r.regex.pattern for r in flower.urls.handlers]))"
    )
    ran = subprocess.run(
        [str(Path(up.process.args[0]).with_name("python")), "-c", code],  # type: ignore[index]
        env=up.environment,
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    found = []
    for pattern in json.loads(ran.stdout):
        path = pattern.removesuffix("$").replace("/?", "").replace("\\.", ".")
        path = path.replace("(retry|cancel)", "retry").replace("([a-z.]+)", "ocr.txt").replace("(json|pdf)", "json")
        path = path.replace("(confirm|pause|resume|cancel)", "confirm").replace(f"({IDENT})", NO_RUN)
        path = re.sub(r"\(\[0-9a-f\][^)]*\)|\(\[0-9A-Za-z-\][^)]*\)", "0123456789abcdef", path)
        path = re.sub(r"\(\[0-9\][^)]*\)", "1", path)
        found.append(re.sub(r"\(\.[*+]\)|\.\*", "x", path))
    return found


def test_every_address_refuses_who_is_not_known(up: Up, base: str) -> None:
    nobody, stranger = Asker(base), Asker(base, Authorization=basic("ann:guess"))
    forger = Asker(base, Authorization="Bearer aseagi_guess")
    every = [*addresses(up), "/static/css/flower.css", "/ours/monitor.js"]
    assert len(every) > 45 and "/api/worker/shutdown/x" in every and "/api/v1/jobs" in every
    assert {"/bulk", f"/bulk/{NO_RUN}", f"/bulk/{NO_RUN}/certificate.json", f"/api/v1/bulk/{NO_RUN}/confirm"} <= {
        *every
    }
    for path in every:
        for who in (nobody, stranger, forger):
            for method in ("GET", "POST"):
                answer = who(path, method, b"" if method == "POST" else None)
                assert answer.status == 401, (path, method, answer.status)
                assert "Basic" in answer.headers["WWW-Authenticate"]
                assert "pellworth" not in answer.body.lower()


def test_viewer_looks_and_changes_nothing(up: Up, viewer: Asker, operator: Asker, ids: dict[str, str]) -> None:
    for path in ("/documents", f"/documents/{ids['02-order.pdf']}", "/jobs", "/bulk", "/costs", "/workers", "/tasks"):
        assert viewer(path).status == 200, path
    before = len(operator("/api/v1/jobs").json["jobs"])
    one = operator("/api/v1/jobs").json["jobs"][0]["job_id"]
    for path in (
        "/documents",
        f"/documents/{ids['02-order.pdf']}",
        "/jobs",
        "/bulk",
        "/bulk/files",
        f"/bulk/{NO_RUN}",
        "/api/v1/bulk",
        f"/api/v1/bulk/{NO_RUN}/confirm",
        "/api/v1/jobs",
        f"/api/v1/jobs/{one}/retry",
        f"/api/v1/jobs/{one}/cancel",
        "/api/worker/shutdown/reading",
        "/api/task/async-apply/aseagi.process",
    ):
        assert viewer(path, "POST", b"job=x&action=retry").status == 403, path
    assert len(operator("/api/v1/jobs").json["jobs"]) == before
    page = viewer(f"/documents/{ids['02-order.pdf']}").body
    assert "Process again" not in page and "Add files" not in viewer("/documents").body
    assert "Drop files" not in viewer("/bulk").body


def test_change_asked_for_by_another_sites_page_is_refused(operator: Asker, base: str) -> None:
    one = operator("/api/v1/jobs").json["jobs"][0]["job_id"]
    own = base.removesuffix(PREFIX)
    for headers in (
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": own},  # the page's own form has a token too
        {"Sec_Fetch_Site": "same-origin"},
    ):
        answer = operator("/jobs", "POST", f"action=cancel&job={one}".encode(), **headers)
        assert answer.status == 403, headers
    for path in (f"/api/v1/jobs/{one}/retry", "/api/worker/shutdown/reading"):
        assert operator(path, "POST", b"", Origin="https://evil.example").status == 403


def test_pages_allow_no_foreign_code_and_no_frames(operator: Asker, ids: dict[str, str]) -> None:
    for path in ("/documents", f"/documents/{ids['01-motion.pdf']}", "/jobs", "/costs", "/workers", "/api/v1/jobs"):
        headers = operator(path).headers
        policy = headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy.split("script-src")[1].split(";")[0]
        assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
    file = operator(f"/documents/{ids['01-motion.pdf']}/files/original")
    assert file.status == 200 and "sandbox" in file.headers["Content-Security-Policy"]
    assert file.headers["Content-Disposition"].startswith("attachment")


def test_documents_are_searched_filtered_and_not_found_in_words(operator: Asker) -> None:
    found = operator("/documents?q=interrogatories").body
    assert "<mark>" in found and "01-motion.pdf" in found and "03-letter.pdf" not in found.split("a-documents")[1][:400]
    assert "02-order.pdf" in operator("/documents?document_type=order").body
    assert "Nothing has all of this" in operator("/documents?document_type=order&case_number=none").body
    rows = operator("/documents?q=order", X_Fragment="1").body
    assert "a-documents" in rows and "<html" not in rows
    assert operator("/documents?document_type=bogus").status == 400
    assert operator("/documents?dated_since=yesterday").status == 400
    missing = operator("/documents/0000000000000000")
    assert missing.status == 404 and "was not found" in missing.body
    hostile = operator("/documents?q=%3Cscript%3Ealert(1)%3C/script%3E").body
    assert "<script>alert" not in hostile


def test_words_under_a_bar_are_nowhere_in_the_page(operator: Asker, ids: dict[str, str]) -> None:
    page = operator(f"/documents/{ids['redacted.pdf']}").body
    assert "lies under an opaque box" in page and "3:24-cv-00042" in page
    assert "Hidden Lane" not in page and "Concealville" not in page
    assert operator("/api/v1/documents?q=Concealville").json["hits"] == []


def test_what_a_person_corrected_stands_on_the_page_with_who_and_when(
    up: Up, operator: Asker, ids: dict[str, str]
) -> None:
    records = SqliteRecords(up.home / "records.sqlite3")
    records.correct(ids["redacted.pdf"], "court", "Court of <Appeal>", "telegram:7 Ana", once="page")
    page = operator(f"/documents/{ids['redacted.pdf']}").body
    assert "Court of &lt;Appeal&gt;" in page and "by telegram:7 Ana, 20" in page


def test_program_hands_in_follows_and_reads(up: Up, operator: Asker, base: str, ids: dict[str, str]) -> None:
    program = Asker(base, Authorization=f"Bearer {token(up, 'script', 'read', 'write')}")
    order = program(f"/api/v1/documents/{ids['02-order.pdf']}").json
    assert order["document"]["case_number"] == "3:21-cv-01234-ABC"
    assert order["analysis"]["case_number"]["evidence"][0]["page"] == 1
    made = program("/api/v1/jobs", "POST", json.dumps({"source": order["document"]["key"], "again": True}).encode())
    assert made.status == 201
    job_id = made.json["job_id"]
    until(lambda: program(f"/api/v1/jobs/{job_id}").json["job"]["status"] == "completed", lambda: up.said)
    kinds = [event["kind"] for event in program(f"/api/v1/jobs/{job_id}").json["events"]]
    assert kinds[-1] == "completed" and kinds.count("finished") == 5
    address = program(f"/api/v1/documents/{ids['02-order.pdf']}/url/ocr.txt").json["url"]
    assert address.startswith(base)
    assert "TAMSWORTH" in program(address.removeprefix(base)).body.upper()
    # what it may not do, and what is wrong with what it asks
    assert program(f"/api/v1/jobs/{job_id}/retry", "POST", b"").status == 403
    for body, said in (
        (b"{", "Invalid JSON"),
        (b'{"source": "raw/nothing.pdf"}', "was not found"),
        (b'{"source": "raw/x", "colour": "red"}', "colour"),
        (b'{"source": "raw/x", "priority": "urgent"}', "priority"),
        (b'{"source": "../../etc/passwd"}', "no key"),
    ):
        refused = program("/api/v1/jobs", "POST", body)
        assert refused.status in (400, 404) and said in refused.json["message"], refused
    changed = up.run("api-token", "revoke", "script")
    assert changed.returncode == 0
    assert program("/api/v1/jobs").status == 401
    again = up.run("api-token", "add", "script")
    assert again.returncode == 5 and "Choose another name" in again.stderr
    listed = json.loads(up.run("api-token", "list", "--json").stdout)
    assert listed[0]["name"] == "script" and listed[0]["revoked_at"]


def test_operator_retries_and_cancels_and_it_is_kept_who_did(up: Up, operator: Asker) -> None:
    job = operator("/api/v1/jobs?status=completed").json["jobs"][0]["job_id"]
    again = operator(f"/api/v1/jobs/{job}/retry", "POST", b"").json["job_id"]
    assert again != job
    assert operator(f"/api/v1/jobs/{again}/cancel", "POST", b"").status == 200
    until(
        lambda: operator(f"/api/v1/jobs/{again}").json["job"]["status"] in ("cancelled", "completed"), lambda: up.said
    )
    from aseagi_tasks.stores.sqlite import SqliteRecords

    changes = SqliteRecords(up.home / "records.sqlite3").changes()
    assert [(change.who, change.what) for change in changes[:2]] == [("ann", "cancel"), ("ann", "retry")]
    assert changes[1].detail == {"jobs": [job]}


def test_page_says_what_a_job_waits_for(up: Up, operator: Asker) -> None:
    from aseagi_tasks.stores.sqlite import SqliteRecords

    records = SqliteRecords(up.home / "records.sqlite3")
    records.register_job("waits-on-purpose", "raw/waits.pdf", "low", "tester")
    assert records.put_off("waits-on-purpose", 3_600, waits_for="an answer of <somebody>")
    page = operator("/jobs").body
    assert "raw/waits.pdf" in page and "Waits for an answer of &lt;somebody&gt;." in page
    assert operator("/api/v1/jobs/waits-on-purpose/cancel", "POST", b"").status == 200
    assert "an answer of" not in operator("/jobs").body


def test_live_page_is_told_of_changes(up: Up, operator: Asker) -> None:
    request = urllib.request.Request(f"{operator.base}/live", headers=operator.headers)
    heard: list[str] = []
    with urllib.request.urlopen(request, timeout=30) as stream:

        def listen() -> None:
            while len([line for line in heard if line.startswith("data:")]) < 2:
                heard.append(stream.readline().decode())

        ear = threading.Thread(target=listen, daemon=True)
        ear.start()
        until(lambda: any(line.startswith("data:") for line in heard), lambda: str(heard))
        job = operator("/api/v1/jobs?status=completed").json["jobs"][0]["job_id"]
        operator(f"/api/v1/jobs/{job}/retry", "POST", b"")
        ear.join(30)
        assert not ear.is_alive()
    first, second = [json.loads(line[5:]) for line in heard if line.startswith("data:")][:2]
    assert first != second and set(first) == {"counts", "running", "bulk"}


def test_api_is_as_it_is_described(up: Up, base: str) -> None:
    schema = schemathesis.openapi.from_dict(
        json.loads(Asker(base, Authorization=basic(OPERATOR))("/api/v1/openapi.json").body)
    )
    bearer = token(up, "tester", "read", "write", "operate")
    excluded = [negative_data_rejection, unsupported_method]  # unknown query arguments are ignored, as usual
    tried = 0
    deadline = time.monotonic() + 40
    for operation in schema.get_all_operations():
        case_strategy = operation.ok().as_strategy()
        takes_file = "application/octet-stream" in operation.ok().get_request_payload_content_types()
        left_out = [*excluded, positive_data_acceptance] if takes_file else excluded  # not all bytes are a document
        for _ in range(12):
            case = schemathesis_example(case_strategy)
            response = case.call(base_url=f"{base}/api/v1", headers={"Authorization": f"Bearer {bearer}"}, timeout=20)
            case.validate_response(response, excluded_checks=left_out)
            tried += 1
            if time.monotonic() > deadline:
                break
    assert tried >= len(list(schema.get_all_operations()))


def schemathesis_example(strategy: Any) -> Any:
    import warnings

    from hypothesis.errors import NonInteractiveExampleWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NonInteractiveExampleWarning)
        return strategy.example()


def test_person_searches_opens_sees_the_evidence_and_downloads(page: Page, base: str) -> None:
    page.goto(f"{base}/documents")
    page.get_by_role("searchbox").press_sequentially("compel interrog*", delay=15)
    expect(page.locator(".a-documents li")).to_have_count(2)
    expect(page.locator("mark").first).to_be_visible()
    assert "q=compel" in page.url
    page.get_by_role("link", name=re.compile("Notice of Motion")).click()
    fact = page.locator(".a-fact-list > div").filter(has_text="case number")
    expect(fact).to_contain_text("23CV998417")
    page.wait_for_load_state()  # until then nothing hears that the pointer is over it
    fact.hover()
    box = page.locator(".a-box.a-lit")
    expect(box).to_have_count(1)
    # the box stands over the words: the text of the line that is laid where the box is
    place = box.bounding_box()
    assert place is not None
    over = page.evaluate(
        """(place) => [...document.querySelectorAll('.a-text span')].filter(line => {
            const own = line.getBoundingClientRect(), middle = own.top + own.height / 2;
            return middle > place.y && middle < place.y + place.height
                && own.left < place.x + place.width && own.right > place.x;
        }).map(line => line.textContent)""",
        place,
    )
    assert any("23CV998417" in text for text in over), over
    box.hover()
    expect(fact).to_have_class(re.compile("a-lit"))
    with page.expect_download() as download:
        page.get_by_role("link", name="searchable.pdf").click()
    assert Path(download.value.path()).read_bytes().startswith(b"%PDF")
    page.get_by_role("link", name="Next").click()
    expect(page.locator(".a-page img")).to_have_js_property("complete", True)
    assert page.evaluate("document.querySelector('.a-page img').naturalWidth") > 800


def test_person_sends_a_file_and_watches_it_finish(page: Page, base: str, tmp_path: Path) -> None:
    canvas = Canvas(str(tmp_path / "sent by hand.pdf"), invariant=True)
    canvas.drawString(72, 720, "ORDER GRANTING MOTION TO SEAL")
    canvas.drawString(72, 680, "Case No. 3:24-cv-00777")
    canvas.save()
    broken = tmp_path / "no document.pdf"
    broken.write_bytes(b"these are no pages")
    page.goto(f"{base}/documents")
    page.locator("input[type=file]").set_input_files(str(tmp_path / "sent by hand.pdf"))
    row = page.locator("tr").filter(has_text="sent by hand.pdf")
    expect(row).to_contain_text("completed", timeout=WAIT_S * 1000)
    row.get_by_role("link", name="open").click()
    expect(page.locator(".a-fact-list")).to_contain_text("3:24-cv-00777")


def test_file_that_is_no_document_is_refused_in_words(operator: Asker) -> None:
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../no.pdf"\r\n\r\n'
    body = head + b"these are no pages\r\n--x--\r\n"
    refused = operator("/documents", "POST", body, Content_Type="multipart/form-data; boundary=x")
    assert refused.status == 422 and "not a document this can read" in refused.body
    assert "etc" not in refused.body


def test_flowers_own_pages_work_behind_ours(page: Page, base: str) -> None:
    page.goto(f"{base}/workers")
    expect(page.locator("#workers-online")).not_to_have_text("—")
    page.get_by_role("link", name="Documents").click()
    expect(page.locator(".a-documents")).to_be_visible()
    page.goto(f"{base}/tasks")
    expect(page.locator("#tasks-table")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    page: Page, base: str, ids: dict[str, str], operator: Asker, paused: str, theme: str
) -> None:
    job = operator("/api/v1/jobs").json["jobs"][0]["job_id"]
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    for path in (
        "/documents?q=order",
        f"/documents/{ids['redacted.pdf']}",
        "/jobs",
        f"/jobs/{job}",
        "/bulk",
        f"/bulk/{paused}",
        "/costs",
    ):
        page.goto(base + path)
        assert serious(page) == [], path
        if theme == "dark" and "/bulk" in path:
            keep(page, f"bulk{'-run' * (path != '/bulk')}-dark")


@pytest.mark.parametrize("width", [1300, 390])
def test_nothing_sticks_out_at_any_width(page: Page, base: str, ids: dict[str, str], paused: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 850})
    for path in (
        "/documents",
        f"/documents/{ids['06-stamped-filing.pdf']}?page=2",
        "/jobs",
        "/bulk",
        f"/bulk/{paused}",
        "/costs",
    ):
        page.goto(base + path)
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, (path, wide)
        keep(page, re.sub(r"\W+", "-", path.replace(ids["06-stamped-filing.pdf"], "one")).strip("-"))


def test_pages_are_read_without_javascript(browser: Browser, base: str, ids: dict[str, str]) -> None:
    name, password = VIEWER.split(":")
    context = browser.new_context(http_credentials={"username": name, "password": password}, java_script_enabled=False)
    page = context.new_page()
    page.goto(f"{base}/documents?q=motion")
    page.locator(".a-name").first.click()
    expect(page.locator(".a-fact-list")).to_be_visible()
    page.goto(f"{base}/jobs")
    expect(page.locator("main")).to_contain_text("Completed last")
    context.close()


def test_passwords_are_in_no_log(up: Up) -> None:
    for log in (up.home / "logs").iterdir():
        text = log.read_text(errors="replace")
        assert not any(secret in text for secret in SECRETS), log
