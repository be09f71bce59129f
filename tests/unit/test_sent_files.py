"""Files that are sent to the monitor are taken apart as they come."""

from __future__ import annotations

from pathlib import Path

import pytest
from tornado.web import HTTPError

from aseagi_tasks import services
from aseagi_tasks.doors.monitor.bulk import put_down
from aseagi_tasks.doors.monitor.taking import Form, Whole, safe_name
from aseagi_tasks.errors import TooLarge
from aseagi_tasks.settings import settings
from aseagi_tasks.stores.folder import FolderStorage

FILES = {
    "a b.pdf": b"%PDF-1.7\r\n--x\r\n--between\r\n\r\n-",
    "émilie.png": b"",
    "big.tif": b"II*\0" + 5_000 * b"\r\n--",
}


def form(files: dict[str, bytes], boundary: str = "between-them", **fields: str) -> bytes:
    """As a browser writes it."""
    parts = [f'name="{name}"\r\n\r\n{value}'.encode() for name, value in fields.items()]
    for name, content in files.items():
        parts.append(f'name="file"; filename="{name}"\r\nContent-Type: x/y\r\n\r\n'.encode() + content)
    opens = f"--{boundary}\r\nContent-Disposition: form-data; ".encode()
    return b"".join(opens + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


@pytest.mark.parametrize("size", [1, 2, 3, 17, 1_000, 1 << 20])
def test_form_is_the_same_whatever_its_pieces(tmp_path: Path, size: int) -> None:
    seen: list[dict[str, list[bytes]]] = []
    taken = Form(b"between-them", tmp_path, 1 << 20, lambda fields: seen.append(dict(fields)))
    body = form(FILES, _xsrf="2|a|b", words="two\r\nlines")
    for at in range(0, len(body), size):
        taken.feed(body[at : at + size])
    taken.end()
    assert {path.name: path.read_bytes() for path in taken.files} == FILES
    assert taken.fields == {"_xsrf": [b"2|a|b"], "words": [b"two\r\nlines"]} and seen == [taken.fields]


def test_file_above_the_limit_is_refused_while_it_comes(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    whole = Whole(tmp_path / "one", "x.pdf", 10)
    whole.feed(b"0123456789")
    with pytest.raises(TooLarge, match="ASEAGI_MAX_BYTES"):
        whole.feed(b"0")
    taken = Form(b"between-them", tmp_path, 10)
    with pytest.raises(TooLarge, match=r"b\.pdf"):
        taken.feed(form({"a.pdf": b"0123456789", "b.pdf": b"0123456789+"}))


def test_what_refuses_before_files_leaves_none(tmp_path: Path) -> None:
    def refuse(_fields: dict[str, list[bytes]]) -> None:
        raise HTTPError(403)

    taken = Form(b"between-them", tmp_path, 10, refuse)
    with pytest.raises(HTTPError):
        taken.feed(form({"a.pdf": b"x"}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no form",
        form({"a.pdf": b"x"})[:-20],
        b'--between-them\r\nContent-Disposition: form-data; filename="x"\r\n\r\nx\r\n--between-them--',
        b"--between-them\r\n" + 20_000 * b"x",
        b'--between-them\r\nContent-Disposition: form-data; name="x"\r\n\r\n' + 70_000 * b"x" + b"\r\n--between-them--",
        b"--between-themselves\r\n\r\n",
        b'--between-them\r\nContent-Disposition: form-data; name="\xff"\r\n\r\nx\r\n--between-them--',
    ],
)
def test_what_is_no_form_is_refused(tmp_path: Path, body: bytes) -> None:
    taken = Form(b"between-them", tmp_path, 1 << 20)
    with pytest.raises(HTTPError) as refused:
        taken.feed(body)
        taken.end()
    assert refused.value.status_code == 400


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\papers\\a.pdf", "a.pdf"),
        ("..", "upload"),
        ("", "upload"),
        ("a\r\nb\0.pdf", "ab.pdf"),
        (300 * "é" + ".pdf", 98 * "é" + ".pdf"),
    ],
)
def test_names_stay_below_their_folder(given: str, name: str) -> None:
    assert safe_name(given) == name


def test_files_of_one_name_are_put_beside_each_other_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = FolderStorage(tmp_path / "bucket")
    monkeypatch.setattr(services, "storage", lambda: storage)
    settings().scratch_root.mkdir(parents=True, exist_ok=True)
    kept: list[str] = []
    for content in (*range(12), *range(12)):  # a browser sends again what it heard no answer to
        (tmp_path / "scan.pdf").write_bytes(b"%%PDF-1.7 %02d" % content)
        kept.append(put_down(tmp_path / "scan.pdf", "f"))
    assert kept[:2] == ["raw/dropped/f/scan.pdf", "raw/dropped/f/scan (2).pdf"] and kept[12:] == kept[:12]
    assert [storage.get(key)[-2:] for key in kept[:12]] == [b"%02d" % content for content in range(12)]
