"""What every storage promises: a folder here, S3 against a real S3 server."""

from __future__ import annotations

import hashlib
import os
import re
import threading
import urllib.request
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from aseagi_tasks.errors import ConfigError, NotAKey, NotFound, StorageUnavailable
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.s3 import S3Storage
from aseagi_tasks.stores.sqlite import SqliteRecords
from aseagi_tasks.stores.storage import Storage
from tests.servers.gateway import GatewayServer


def s3(endpoint: str, bucket: str | None = None, **options: Any) -> S3Storage:
    """A storage on a bucket of its own, or on the named one that need not exist."""
    name = bucket or f"test-{uuid.uuid4().hex}"
    made = S3Storage(name, endpoint, "us-east-1", "test", "test", **{"attempts": 2, "timeout_s": 5, **options})
    if bucket is None:
        made.client.create_bucket(Bucket=name)
    return made


@pytest.fixture(params=["folder", "s3", "gateway"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    if request.param == "folder":
        yield FolderStorage(tmp_path / "bucket")
        return
    bucket = s3(request.getfixturevalue("s3_endpoint"))
    if request.param == "s3":
        yield bucket
        return
    records, redis = SqliteRecords(tmp_path / "records.sqlite3"), request.getfixturevalue("broker").redis
    with GatewayServer(tmp_path / "gateway", redis, records, bucket, unlimited=True) as server:
        yield server.storage()


ODD_KEYS = [
    "raw/2026/11/23/a.pdf",
    "raw/with space and + plus & amp.pdf",
    "raw/ünïcødé/文書.pdf",
    "raw/percent%20and#hash?.pdf",
    "raw/quote'\"s.pdf",
    "raw/-leading/--dashes",
    "raw/.hidden",
    "raw/e\u0301 decomposed",
    "raw/back\\slash\\.pdf",
    f"raw/{'n' * 251}.pdf",
    "raw/ before and behind .pdf ",
    "raw/...",
    "raw/\u202efdp.exe",
]
#: What S3 takes, and a folder cannot have: it would be another's name, or outside.
ODD_IN_S3 = ["raw//a.pdf", "raw/a/../b.pdf", "raw/./a.pdf", "raw/..", "/a.pdf", "raw/folder/", f"raw/{'n' * 300}.pdf"]


@pytest.mark.parametrize("key", ODD_KEYS)
def test_what_is_put_is_what_is_got_and_listed(storage: Storage, key: str) -> None:
    storage.put(key, b"one")
    storage.put(key, b"three")
    assert storage.get(key) == b"three"
    found = storage.stat(key)
    assert found is not None and (found.key, found.bytes) == (key, 5)
    assert found.modified.tzinfo is not None
    assert [there.key for there in storage.list("raw/")] == [key]


@pytest.mark.parametrize("key", ["", "raw/\0", "raw/" + "n" * 1_021, "raw/\udcff.pdf"])
def test_what_is_no_key_is_refused(storage: Storage, key: str) -> None:
    refuses(storage, key)


def refuses(storage: Storage, key: str) -> None:
    for call in (storage.get, storage.stat, storage.delete, lambda k: storage.put(k, b"")):
        with pytest.raises(NotAKey):
            call(key)


@pytest.mark.parametrize("key", [*ODD_IN_S3, "raw/../../x", ".partial/x"])
def test_folder_refuses_what_would_be_outside_or_anothers_name(tmp_path: Path, key: str) -> None:
    (tmp_path / "x").write_bytes(b"outside")
    refuses(FolderStorage(tmp_path / "bucket"), key)
    assert (tmp_path / "x").read_bytes() == b"outside"


def test_s3_has_what_other_tools_wrote(s3_endpoint: str, tmp_path: Path) -> None:
    storage = s3(s3_endpoint)
    for key in ODD_IN_S3:
        storage.put(key, key.encode())
    assert [there.key for there in storage.list("")] == sorted(ODD_IN_S3, key=str.encode)
    for key in ODD_IN_S3:
        storage.download(key, tmp_path / "back")
        assert (tmp_path / "back").read_bytes() == storage.get(key) == key.encode()
        for address in (storage.url_get(key, 60), storage.url_put(key, 60)):
            assert not re.search(r"/\.{1,2}(/|\?)", address), "clients take these out"
        assert httpx.get(storage.url_get(key, 60)).content == key.encode()
        storage.delete(key)
    assert list(storage.list("")) == []


def test_missing_object_is_not_found(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"raw/none\.pdf"):
        storage.get("raw/none.pdf")
    with pytest.raises(NotFound):
        storage.download("raw/none.pdf", tmp_path / "x")
    with pytest.raises(NotFound):
        storage.url_get("raw/none.pdf", 60)
    assert storage.stat("raw/none.pdf") is None
    storage.delete("raw/none.pdf")
    assert list(tmp_path.glob("*x*")) == []


def test_list_is_by_string_prefix_in_key_order(storage: Storage) -> None:
    keys = ["a/b", "a/b.c", "a/b-d", "a/bb/c", "a/b/c".replace("b/c", "bz/c"), "ab", "b", "a/B"]
    for key in keys:
        storage.put(key, b"")
    assert [there.key for there in storage.list("")] == sorted(keys, key=str.encode)
    assert [there.key for there in storage.list("a/b")] == sorted(
        (k for k in keys if k.startswith("a/b")), key=str.encode
    )
    assert list(storage.list("nothing/")) == []
    for after in [*keys, "a", "a/", "a/b/", "a/b.", "a/bb/cc", "a/\u00ff", "0", "z"]:
        behind = sorted((k for k in keys if k.encode() > after.encode()), key=str.encode)
        assert [there.key for there in storage.list("", after)] == behind
        assert [there.key for there in storage.list("a/", after)] == [k for k in behind if k.startswith("a/")]


def test_delete_all_takes_what_is_below_and_nothing_else(storage: Storage) -> None:
    for number in range(7):
        storage.put(f"cache/job/{number}/x", b"")
    storage.put("cache/job2/x", b"")
    assert storage.delete_all("cache/job/") == 7
    assert [there.key for there in storage.list("cache/")] == ["cache/job2/x"]
    assert storage.delete_all("cache/job/") == 0
    with pytest.raises(ValueError, match="slash"):
        storage.delete_all("cache/job2")


def test_large_file_goes_and_comes_in_pieces(storage: Storage, tmp_path: Path) -> None:
    path, back = tmp_path / "large.bin", tmp_path / "back.bin"
    path.write_bytes(os.urandom(1 << 20) * 20)
    storage.upload(path, "raw/large.bin")
    storage.download("raw/large.bin", back)
    assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(path.read_bytes()).digest()
    found = storage.stat("raw/large.bin")
    assert found is not None and found.bytes == 20 << 20


def test_signed_addresses_read_and_write(storage: Storage) -> None:
    storage.put("raw/a b.txt", b"read me")
    with urllib.request.urlopen(storage.url_get("raw/a b.txt", 60), timeout=10) as answer:
        assert answer.read() == b"read me"
    address = storage.url_put("raw/written.txt", 60)
    if address.startswith("file:"):
        Path(urllib.request.url2pathname(address.removeprefix("file://"))).write_bytes(b"written")
    else:
        request = urllib.request.Request(address, data=b"written", method="PUT", headers={"content-type": "text/plain"})
        urllib.request.urlopen(request, timeout=10).close()
    assert storage.get("raw/written.txt") == b"written"


def test_many_threads_at_once(storage: Storage) -> None:
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for turn in range(10):
                storage.put(f"cache/t{number}/{turn}", f"{number}/{turn}".encode())
                storage.put("cache/shared", f"{number}".encode())
                assert storage.get(f"cache/t{number}/{turn}") == f"{number}/{turn}".encode()
                if turn % 3 == 0:
                    storage.delete(f"cache/t{number}/{turn}")
        except Exception as exc:
            errors.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(list(storage.list("cache/t"))) == 8 * 6


def test_folder_shows_no_half_written_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FolderStorage(tmp_path / "bucket")
    (tmp_path / "source").write_bytes(b"x" * 100)

    def full(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(StorageUnavailable, match="No space left"):
        storage.upload(tmp_path / "source", "raw/a.pdf")
    assert list(storage.list("")) == []
    assert [path for path in (tmp_path / "bucket").rglob("*") if path.is_file()] == []


def test_folder_refuses_a_key_below_an_object(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "bucket")
    storage.put("raw/a", b"")
    with pytest.raises(StorageUnavailable, match="file there"):
        storage.put("raw/a/b", b"")


def test_folder_lists_what_it_has(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "bucket")
    storage.put("raw/a.pdf", b"")
    for name, target in (("folder", "."), ("round", "round"), ("nowhere", "nothing"), ("file.pdf", "a.pdf")):
        (tmp_path / "bucket" / "raw" / name).symlink_to(target)
    listed = [there.key for there in storage.list("")]
    assert listed == ["raw/a.pdf", "raw/file.pdf"] and all(storage.stat(key) is not None for key in listed)


def test_folder_that_cannot_be_made_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="ASEAGI_HOME"):
        FolderStorage(tmp_path / "file" / "bucket")


def test_s3_bucket_that_is_not_there_is_a_config_error(s3_endpoint: str) -> None:
    missing = s3(s3_endpoint, bucket="nobodys")
    for call in (lambda: missing.get("a"), lambda: missing.put("a", b""), lambda: list(missing.list("a"))):
        with pytest.raises(ConfigError, match="ASEAGI_BUCKET"):
            call()


def test_s3_that_is_gone_is_unavailable_within_bounds() -> None:
    gone = s3("http://127.0.0.1:9", bucket="any", timeout_s=1)
    for call in (lambda: gone.get("a"), lambda: gone.stat("a"), lambda: list(gone.list("a"))):
        with pytest.raises(StorageUnavailable):
            call()


class Faulty(BaseHTTPRequestHandler):
    """Answers 503 while ``refusals`` last, then sends the first half of what it promised."""

    refusals = 0
    calls = 0

    def do_GET(self) -> None:
        type(self).calls += 1
        if self.refusals > 0:
            type(self).refusals -= 1
            body = b"<Error><Code>ServiceUnavailable</Code><Message>later</Message></Error>"
            self.send_response(503)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        self.send_response(200)
        self.send_header("content-length", "1000")
        self.end_headers()
        self.wfile.write(b"x" * 500)
        self.close_connection = True

    do_HEAD = do_GET  # noqa: N815  # http.server's name

    def log_message(self, *_arguments: Any) -> None:
        pass


@pytest.fixture
def faulty() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
    Faulty.refusals = Faulty.calls = 0
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_s3_503_is_tried_again_and_then_unavailable(faulty: str) -> None:
    Faulty.refusals = 100
    with pytest.raises(StorageUnavailable, match="ServiceUnavailable"):
        s3(faulty, bucket="any", attempts=3).get("a")
    assert Faulty.calls == 3


def test_s3_download_that_breaks_off_leaves_nothing(faulty: str, tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        s3(faulty, bucket="any").download("a", tmp_path / "a.pdf")
    assert list(tmp_path.iterdir()) == []
