"""Another program fills the bucket: rclone, real, against a real S3 server; everything is processed where it lies."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aseagi_tasks import keys
from aseagi_tasks.stores.s3 import S3Storage
from tests.chain.conftest import WAIT_S, Up
from tests.chain.telegram_papers import filing
from tests.contract.conftest import s3_endpoint
from tests.contract.test_storage import s3

__all__ = ["s3_endpoint"]  # the fixture

#: In folders that rclone copies. moto does not give objects with a newline in their key back, S3 does.
NAMES = [
    "plain.pdf",
    " before and behind .pdf ",
    "back\\slash\\..\\up.pdf",
    "re\u0301sume\u0301.pdf",
    "composed/résumé.pdf",
    ".hidden.pdf",
    "-rf.pdf",
    "n" * 251 + ".pdf",
    "100%25 #1?&+='\"<b>[red]{0}.pdf",
    "\x1b[2Jclear.pdf",
    "\u202efdp.exe",
    "😀/文書.pdf",
    "....pdf",
    "no ending",
]
#: Other tools write what no folder holds.
KEYS = ["raw//twice.pdf", "raw/a/../up.pdf", "raw/./here.pdf", "raw/..", "raw/behind.pdf/"]
#: What any program does that knows the bucket's keys.
PROCESS = """
import json, sys
from aseagi_tasks.tasks import process
queued = [process.delay(key) for key in json.load(sys.stdin)]
json.dump([one.get(timeout=90, propagate=False) for one in queued], sys.stdout, default=repr)
"""


class Office:
    """A stack whose bucket is filled by rclone."""

    def __init__(self, up: Up, bucket: S3Storage, endpoint: str) -> None:
        self.up, self.bucket = up, bucket
        left_out = ("AWS_", "RCLONE_")  # a machine's own certificates and credentials
        remote = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": endpoint, "REGION": "us-east-1"}
        remote |= {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
        self._environment |= {f"RCLONE_CONFIG_REMOTE_{name}": value for name, value in remote.items()}
        self._environment |= {"RCLONE_CONFIG": os.devnull, "RCLONE_RETRIES": "1"}

    def rclone(self, command: str, *arguments: str) -> None:
        done = subprocess.run(
            ["rclone", command, *arguments], env=self._environment, capture_output=True, text=True, timeout=WAIT_S
        )
        assert done.returncode == 0, done.stderr

    def at(self, key: str) -> str:
        return f"remote:{self.bucket.bucket}/{key}"

    def process(self, *wanted: str) -> list[Any]:
        """Results, or errors in words."""
        done = subprocess.run(
            [sys.executable, "-c", PROCESS], input=json.dumps(wanted), env=self.up.environment, capture_output=True,
            text=True, timeout=WAIT_S,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    def asked(self, *arguments: str) -> Any:
        return json.loads(self.up.run(*arguments, "--json").stdout)

    def page(self, path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.up.port}{path}", timeout=30) as answer:
            return bytes(answer.read())


@pytest.fixture
def office(s3_endpoint: str) -> Iterator[Office]:
    bucket = s3(s3_endpoint)
    settings = {"ASEAGI_STORAGE": "s3", "ASEAGI_BUCKET": bucket.bucket, "ASEAGI_S3_ENDPOINT_URL": s3_endpoint}
    settings |= {"ASEAGI_S3_ACCESS_KEY_ID": "test", "ASEAGI_S3_SECRET_ACCESS_KEY": "test"}
    with (
        tempfile.TemporaryDirectory(prefix="aseagi-", ignore_cleanup_errors=True) as home,
        Up(Path(home), **settings) as up,
    ):
        yield Office(up, bucket, s3_endpoint)


def test_what_rclone_brings_is_processed_whatever_it_is_called(office: Office, tmp_path: Path) -> None:
    bodies: dict[str, bytes] = {}
    for number, name in enumerate(NAMES):
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(filing(f"3:24-cv-{number:05d}"))
        bodies[f"raw/{name}"] = path.read_bytes()
    office.rclone("sync", str(tmp_path / "folder"), office.at("raw"))
    for key in KEYS:
        bodies[key] = filing()
        office.bucket.put(key, bodies[key])
    assert {there.key for there in office.bucket.list("raw/")} == set(bodies)

    results = dict(zip(bodies, office.process(*bodies), strict=True))
    for key, result in results.items():
        assert result["status"] == "completed", (key, result)
        assert result["name"] == keys.name_of(key)
        # what browsers do not find by its address has a copy
        assert result["source"] == key or not keys.has_address(key)
        with urllib.request.urlopen(office.bucket.url_get(result["source"], 60), timeout=30) as answer:
            assert answer.read() == bodies[key]

    shown = office.up.run("status", "--limit", "100")
    assert shown.returncode == 0 and "\x1b[2J" not in shown.stdout and "[red]{0}" in shown.stdout, shown.stderr
    ids = {key: result["document_id"] for key, result in results.items()}
    for key in ("raw/100%25 #1?&+='\"<b>[red]{0}.pdf", "raw/\x1b[2Jclear.pdf", "raw/a/../up.pdf"):
        assert office.page(f"/documents/{ids[key]}/files/original") == bodies[key]
        assert b"<b>[red]" not in office.page(f"/documents/{ids[key]}")
    listed = office.page("/documents").decode()
    assert all(re.search(rf"documents/{ident}\b", listed) for ident in ids.values())

    jobs = [option for result in results.values() for option in ("--job", result["job_id"])]
    certificate = office.asked("certificate", *jobs)
    assert (certificate["totals"]["balanced"], certificate["totals"]["documents"]) == (True, len(bodies))

    # people put things in order
    office.rclone("moveto", office.at("raw/plain.pdf"), office.at("raw/sorted away/plain.pdf"))
    office.rclone("deletefile", office.at("raw/.hidden.pdf"))
    moved, gone = office.process("raw/sorted away/plain.pdf", "raw/.hidden.pdf")
    assert (moved["document_id"], moved["source"]) == (ids["raw/plain.pdf"], "raw/sorted away/plain.pdf")
    assert "NotFound" in gone
    assert [one["key"] for one in office.asked("missing")] == ["raw/.hidden.pdf"]
    held = office.up.run("verify", certificate["key"])
    assert held.returncode == 3
    assert re.search("missing .*raw/.hidden.pdf", held.stdout) and re.search("moved .*raw/plain.pdf", held.stdout)
