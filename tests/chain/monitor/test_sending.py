"""Files that are sent to the monitor: large ones, ones that never come whole, ones that are not asked for."""

from __future__ import annotations

import http.client
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pikepdf

from tests.chain.conftest import Up, until
from tests.chain.monitor.conftest import OPERATOR, PREFIX, Asker, basic

LARGE = 101_000_000
BEFORE = b'--x\r\nContent-Disposition: form-data; name="file"; filename="large.pdf"\r\n\r\n'
AFTER = b"\r\n--x--\r\n"
FORM = {"Content-Type": "multipart/form-data; boundary=x", "Authorization": basic(OPERATOR)}


def pieces(length: int) -> Iterator[bytes]:
    yield BEFORE
    piece = bytes(1 << 20)
    for at in range(0, length, len(piece)):
        yield piece[: min(len(piece), length - at)]
    yield AFTER


def memory_mb(up: Up) -> float:
    pid = next(child.pid for child in up.stack.children() if child.name == "monitor")
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def left(up: Up) -> list[Path]:
    return list((up.home / "scratch").glob("sent-*"))


def test_large_file_takes_no_memory_and_leaves_nothing(up: Up) -> None:
    before, size = memory_mb(up), len(BEFORE) + LARGE + len(AFTER)
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=60)
    connection.request("POST", f"{PREFIX}/documents", pieces(LARGE), {**FORM, "Content-Length": str(size)})
    answer = connection.getresponse()
    assert answer.status == 422 and "not a document this can read" in answer.read().decode()
    assert memory_mb(up) - before < LARGE / 2e6
    until(lambda: not left(up), lambda: str(left(up)))


def test_large_document_is_taken_in_by_the_api(up: Up, operator: Asker, samples: Path, tmp_path: Path) -> None:
    with pikepdf.open(samples / "03-letter.pdf") as pdf:
        pdf.Root.Ballast = pdf.make_stream(os.urandom(1_000) * (LARGE // 1_000))
        pdf.save(tmp_path / "large.pdf", compress_streams=False)
    path = f"{PREFIX}/api/v1/documents?name=a%20large%20letter.pdf"
    connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=60)
    with (tmp_path / "large.pdf").open("rb") as file:
        size = str((tmp_path / "large.pdf").stat().st_size)
        connection.request("POST", path, file, {"Authorization": basic(OPERATOR), "Content-Length": size})
    answer = connection.getresponse()
    assert answer.status == 201
    job = http_json(answer)["job_id"]
    until(lambda: operator(f"/api/v1/jobs/{job}").json["job"]["status"] == "completed", lambda: up.said)
    found = operator(f"/api/v1/documents/{operator(f'/api/v1/jobs/{job}').json['job']['document_id']}").json
    assert found["document"]["name"] == "a large letter.pdf" and found["document"]["bytes"] == int(size)
    until(lambda: not left(up), lambda: str(left(up)))


def http_json(answer: http.client.HTTPResponse) -> dict[str, str]:
    import json

    found: dict[str, str] = json.loads(answer.read())
    return found


def test_file_that_does_not_come_whole_leaves_nothing(up: Up, operator: Asker) -> None:
    jobs = operator("/api/v1/jobs?limit=500").json["jobs"]
    head = f"POST {PREFIX}/documents HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in FORM.items()) + "\r\n"
    with socket.create_connection(("127.0.0.1", up.port), timeout=30) as line:
        line.sendall(head.encode() + BEFORE + bytes(3_000_000))
        until(lambda: bool(left(up)), lambda: up.said)
    until(lambda: not left(up), lambda: str(left(up)))
    # all of its length, and no end
    cut = operator("/documents", "POST", BEFORE + b"%PDF-1.7", Content_Type=FORM["Content-Type"])
    assert cut.status == 400 and "did not come whole" in cut.body
    assert len(operator("/api/v1/jobs?limit=500").json["jobs"]) == len(jobs) and left(up) == []


def test_more_than_the_limit_is_refused_before_it_comes(up: Up, operator: Asker) -> None:
    for path in ("/documents", "/api/v1/documents?name=x.pdf"):
        connection = http.client.HTTPConnection("127.0.0.1", up.port, timeout=60)
        connection.putrequest("POST", PREFIX + path)
        for name, value in {**FORM, "Content-Length": "700000000"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 413 and b"ASEAGI_MAX_BYTES" in answer.read()
        connection.close()
    assert operator("/api/v1/documents", "POST", b"%PDF-").status == 400


def test_files_that_the_pages_own_form_did_not_send_are_not_kept(up: Up, operator: Asker, base: str) -> None:
    body = BEFORE + b"%PDF-1.7" + AFTER
    own = base.removesuffix(PREFIX)
    for headers in ({"Sec_Fetch_Site": "same-origin"}, {"Origin": own}):
        refused = operator("/documents", "POST", body, Content_Type=FORM["Content-Type"], **headers)
        assert refused.status == 403 and "load it again" in refused.body
    with_token = BEFORE.replace(b'name="file"; filename="large.pdf"', b'name="_xsrf"') + b"2|x|y|1" + b"\r\n" + body
    refused = operator("/documents", "POST", with_token, Content_Type=FORM["Content-Type"], Origin=own)
    assert refused.status == 403 and left(up) == []
