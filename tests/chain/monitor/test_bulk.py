"""A bulk run from the monitor: files dropped in a real browser, quoted, confirmed, watched, certified."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Page, expect
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.sqlite import SqliteRecords
from tests.chain.conftest import WAIT_S, Up, until
from tests.chain.monitor.conftest import OPERATOR, Asker, basic
from tests.chain.monitor.screens import keep, serious
from tests.unit.test_sent_files import form


def papers(folder: Path, count: int) -> list[str]:
    """Small filings, and something that is none."""
    (folder / "no paper.pdf").write_bytes(b"these are no pages")
    with (folder / "too large.pdf").open("wb") as large:
        large.truncate(Settings().max_bytes + 1)
    found = [str(folder / "no paper.pdf"), str(folder / "too large.pdf")]
    for number in range(count):
        canvas = Canvas(str(folder / f"notice {number}.pdf"), invariant=True)
        canvas.drawString(72, 720, f"NOTICE OF HEARING {number}")
        canvas.drawString(72, 680, f"Case No. 3:24-cv-0090{number}")
        canvas.save()
        found.append(str(folder / f"notice {number}.pdf"))
    return found


def test_person_drops_files_confirms_the_quote_and_gets_the_certificate(
    up: Up, page: Page, base: str, operator: Asker, viewer: Asker, tmp_path: Path
) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    page.goto(f"{base}/bulk")
    page.locator("form[data-drop] input[type=file]").set_input_files(papers(tmp_path, 3))
    expect(page.locator("[data-drop-refused]")).to_contain_text("no paper.pdf is not a document this can read")
    expect(page.locator("[data-drop-refused]")).to_contain_text("too large.pdf is too large")
    keep(page, "bulk-refused")
    page.get_by_role("button", name="Go on without them").click()
    confirm = page.get_by_role("button", name="Confirm and begin")
    expect(confirm).to_be_visible(timeout=WAIT_S * 1000)
    quote = page.locator("section").filter(has=page.get_by_role("heading", name="Quote", exact=True))
    expect(quote.locator("tr").filter(has_text="pages").first).to_contain_text("3 pages")
    expect(quote).to_contain_text("$")
    run_id = page.url.rsplit("/", 1)[-1]
    keep(page, "bulk-quote")
    assert serious(page) == []
    seen = viewer(f"/bulk/{run_id}").body
    assert "How it was reckoned" in seen and "Confirm and begin" not in seen and "Cancel the run" not in seen
    page.get_by_label("Spend at most, in dollars").fill("2.50")
    confirm.click()
    expect(page.locator(".a-said")).to_contain_text("3 of 3 documents ended", timeout=WAIT_S * 1000)
    keep(page, "bulk-ended")
    with page.expect_download() as download:
        page.get_by_role("link", name="to check by program (JSON)").click()
    certificate = json.loads(Path(download.value.path()).read_bytes())
    assert certificate["totals"]["balanced"] and certificate["totals"]["files"] == 3
    assert page.evaluate("document.documentElement.scrollWidth") <= 1300
    page.goto(f"{base}/costs")
    expect(page.locator("tr").filter(has_text="raw/dropped/")).to_contain_text("of $2.50")
    keep(page, "costs")

    run = operator(f"/api/v1/bulk/{run_id}").json
    assert (run["status"], run["cap_usd"], run["confirmed_by"], run["jobs"]["completed"]) == (
        "completed",
        2.5,
        "ann",
        3,
    )
    assert {job["source"].rsplit("/", 1)[-1] for job in operator("/api/v1/jobs").json["jobs"]} >= {"notice 0.pdf"}
    costs = operator("/api/v1/costs").json["runs"]
    assert run_id in [one["run_id"] for one in costs]
    changes = [
        (change.who, change.what, change.detail) for change in SqliteRecords(up.home / "records.sqlite3").changes()
    ]
    assert ("ann", "bulk confirm", {"run": run_id, "cap_usd": 2.5}) in changes
    assert [what for _, what, _ in changes].count("bulk file") >= 4


def test_program_runs_bulk_and_is_told_what_a_run_does_not_allow(up: Up, operator: Asker, viewer: Asker) -> None:
    body = json.dumps({"prefix": "raw/2", "cap_usd": 0}).encode()
    assert viewer("/api/v1/bulk", "POST", body).status == 403
    made = operator("/api/v1/bulk", "POST", body)
    assert made.status == 201 and made.json["prefix"] == "raw/2" and made.json["cap_usd"] == 0
    run_id = made.json["run_id"]
    # everything in there was done when it came: the run ends without a word
    until(lambda: operator(f"/api/v1/bulk/{run_id}").json["status"] == "completed", lambda: up.said)
    for action in ("confirm", "pause", "resume", "cancel"):
        refused = operator(f"/api/v1/bulk/{run_id}/{action}", "POST", b"")
        assert refused.status == 409 and refused.json["error"] == "BulkRefused", action
    assert run_id in [run["run_id"] for run in viewer("/api/v1/bulk").json["runs"]]
    for path, given, status in (
        ("/api/v1/bulk", b'{"prefix": "processed/"}', 400),
        ("/api/v1/bulk", b'{"prefix": "raw/", "cap_usd": -1}', 400),
        ("/api/v1/bulk", b'{"prefix": "raw/../x/"}', 409),
        ("/api/v1/bulk/20200101-000000-abcdef/confirm", b"", 404),
    ):
        assert operator(path, "POST", given).status == status, (path, given)
    assert "is no prefix of documents" in operator("/bulk", "POST", b"prefix=exports/").body
    assert operator("/bulk", "POST", b"prefix=raw/&cap_usd=much").status == 400


def test_files_are_dropped_without_javascript(up: Up, operator: Asker, base: str) -> None:
    content, kind = b"1.4\n%%EOF", "multipart/form-data; boundary=x"
    sent = operator("/bulk/files", "POST", form({"a.pdf": b"%PDF-" + content}, "x"), Content_Type=kind)
    assert sent.status == 302
    run_id = sent.headers["Location"].rsplit("/", 1)[-1]
    assert operator(f"/api/v1/bulk/{run_id}/cancel", "POST", b"").status == 200
    folder = operator(f"/api/v1/bulk/{run_id}").json["prefix"].split("/")[2]
    for text, count in ((content, 1), (content[::-1], 2), (content[::-1], 2)):  # the same again, another, that again
        more = form({"a.pdf": b"%PDF-" + text}, "x", folder=folder)
        answer = operator("/bulk/files", "POST", more, Content_Type=kind, X_Fragment="1")
        assert answer.json == {"folder": folder, "prefix": f"raw/dropped/{folder}/", "refused": []}
        assert len(list((up.home / "aseagi-documents" / "raw" / "dropped" / folder).iterdir())) == count
    elsewhere = form({"a.pdf": content}, "x", folder="../../etc")
    assert operator("/bulk/files", "POST", elsewhere, Content_Type=kind).status == 400
    stranger = Asker(base, Authorization=basic(OPERATOR), Sec_Fetch_Site="cross-site")
    assert stranger("/bulk", "POST", b"prefix=raw/").status == 403
