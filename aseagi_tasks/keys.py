"""Where things are in the bucket: every key is made here and nowhere else.

    raw/YYYY/MM/DD/<document_id>.<ext>
    processed/YYYY/MM/DD/<document_id>/{ocr.txt, ocr.json.gz, analysis.json, thumbnail.jpg, searchable.pdf,
        metadata.json}
    processed/YYYY/MM/DD/<document_id>/versions/<job_id>/{analysis.json, metadata.json}
    cache/<job_id>/{pages.json, layers.json, ocr.json, dialogue.json, analysis.json, thumbnail.jpg, kept.json,
        before.json}
    reprocess/<run_id>.json
    bulk/<run_id>/todo-<part>.jsonl
    batches/requests/<job_id>_<call>.json, batches/sent/<batch_id>.json
    backups/YYYY/MM/DD/{records-<moment>.{dump, sqlite3}, manifest-<moment>.jsonl.gz}
    exports/certificates/<YYYY-MM-DD or run>-<moment>-<hash>.{json, pdf}
    exports/weekly-report-<YYYY-MM-DD: its last day>.pdf, exports/case-summary-<case>.pdf

Pure: dates come in as arguments. The layout of a job's scratch folder is here too.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from datetime import date, datetime, timedelta
from pathlib import Path

from aseagi_tasks.documents import EXTENSIONS, MediaType
from aseagi_tasks.errors import NotAKey

#: The published set, in the order in which it is written: metadata.json last, since it marks the set complete.
PUBLISHED = ("ocr.txt", "ocr.json.gz", "analysis.json", "thumbnail.jpg", "searchable.pdf", "metadata.json")

#: What is kept of a set that a later job replaced.
VERSIONED = ("analysis.json", "metadata.json")

#: Of a key in S3, and of a name in a folder, in UTF-8.
MAX_BYTES, MAX_NAME_BYTES = 1_024, 255
_CLIMBS = frozenset((".", ".."))
_NO_PARTS = _CLIMBS | {""}
#: They turn the direction in which what follows is shown: `exe.pdf` may be `fdp.exe`.
_TURNS = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_UNFINISHED = (".partial", ".part", ".tmp", ".filepart", ".crdownload", ".download", "~")
_CLOCKS_DIFFER = timedelta(hours=1)

CONTENT_TYPES = {
    "txt": "text/plain; charset=utf-8",
    "json": "application/json",
    "jpg": "image/jpeg",
    "png": "image/png",
    "tif": "image/tiff",
    "pdf": "application/pdf",
    "gz": "application/gzip",
}


def raw(document_id: str, media_type: MediaType, day: date) -> str:
    """Where intake puts a document's original bytes."""
    return f"raw/{day:%Y/%m/%d}/{document_id}.{EXTENSIONS[media_type]}"


def processed(document_id: str, day: date) -> str:
    """The folder (no trailing slash) of a document's results; ``day`` is the day of intake."""
    return f"processed/{day:%Y/%m/%d}/{document_id}"


def version(folder: str, job_id: str, name: str) -> str:
    """A file of the set that this job had published in ``folder``, kept when another replaced it."""
    return f"{folder}/versions/{job_id}/{name}"


def reprocess(run_id: str = "") -> str:
    """What is to be processed again, and how far that is; with no id the prefix of all."""
    return f"reprocess/{run_id}.json" if run_id else "reprocess/"


def bulk(run_id: str, part: int) -> str:
    """A list of what a bulk run is to do, JSON lines; ``part`` counts from 1."""
    return f"bulk/{run_id}/todo-{part:05d}.jsonl"


def cache(job_id: str, name: str = "") -> str:
    """A job's intermediate result, or with no name the prefix of all of them."""
    return f"cache/{job_id}/{name}"


def batch_request(custom_id: str = "") -> str:
    """A request to Claude that waits for a batch or for its answer, or with no id the prefix of all of them."""
    return f"batches/requests/{custom_id}.json" if custom_id else "batches/requests/"


def batch_members(batch_id: str) -> str:
    """Which requests a batch has."""
    return f"batches/sent/{batch_id}.json"


def backup(now: datetime, extension: str) -> str:
    """A backup of the records; by name the newest is last. ``now`` is UTC."""
    return f"backups/{now:%Y/%m/%d}/records-{now:%Y%m%dT%H%M%S}Z.{extension}"


def manifest(backup_key: str) -> str:
    """What was in the bucket when a backup was made: beside that."""
    folder, _, name = backup_key.rpartition("/")
    return f"{folder}/{name.replace('records-', 'manifest-', 1).split('.')[0]}.jsonl.gz"


def certificates(scope: str = "") -> str:
    """The prefix of the certificates of a day or of runs; by name the newest of one day is last."""
    return f"exports/certificates/{scope}"


def certificate(scope: str, now: datetime, digest: str, extension: str) -> str:
    """A certificate, which is never overwritten: ``digest`` is its hash. ``now`` is UTC."""
    return f"{certificates(scope)}-{now:%Y%m%dT%H%M%S}Z-{digest[:8]}.{extension}"


def weekly_report(last: date) -> str:
    """The report of the seven days that end with this one; made again it is overwritten."""
    return f"exports/weekly-report-{last:%Y-%m-%d}.pdf"


def case_summary(case_number: str) -> str:
    """A case's summary; made again it is overwritten. Different numbers have different keys, whatever is in them."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", case_number).strip("-.")[:80] or "case"
    if safe != case_number:
        safe += f"-{hashlib.sha256(case_number.encode()).hexdigest()[:6]}"
    return f"exports/case-summary-{safe}.pdf"


def page_image(scratch: Path, number: int) -> Path:
    """Where rasterize leaves a page for recognition, within a job's scratch folder: grey, 8 bit, at ``Page.dpi``."""
    return scratch / "pages" / f"{number:05d}.pgm"


def content_type(key: str) -> str:
    """Media type by extension; unknown ones are octets."""
    return CONTENT_TYPES.get(key.rsplit(".", 1)[-1].lower(), "application/octet-stream")


def name_of(key: str) -> str:
    """What an object or a file is called: the last part of its key that is one, as it can be shown.

    Composed (NFC), as names are typed and searched. What would steer a terminal, turn the direction of what follows, or
    is no text becomes U+FFFD.
    """
    part = next((part for part in reversed(key.split("/")) if part not in _NO_PARTS), key)
    shown = ("\ufffd" if unicodedata.category(c) in ("Cc", "Cs") or c in _TURNS else c for c in part)
    return unicodedata.normalize("NFC", "".join(shown))


def is_partial(name: str) -> bool:
    """Whether an object's name is one that other programs give to what they have not finished writing.

    rclone's and Syncthing's, those of browsers and of FTP clients, and the locks of office programs.
    """
    return name.startswith((".~", "~$")) or name.lower().endswith(_UNFINISHED)


def is_at_rest(modified: datetime, now: datetime, rest_s: float) -> bool:
    """Whether an object was left alone for so long that whoever wrote it has probably finished.

    Args:
        modified: as listed. Further ahead than clocks differ it says nothing: such a file kept a wrong clock's time.
        rest_s: seconds.
    """
    return modified > now + _CLOCKS_DIFFER or now - modified >= timedelta(seconds=rest_s)


def check(key: str) -> str:
    """The key itself, if S3 takes it: other tools write ``//``, ``..``, ``\\`` and newlines into ``raw/``.

    Raises:
        NotAKey: it is empty, longer than 1,024 bytes, no UTF-8, or holds a zero byte.
    """
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise NotAKey(ascii(key), "its name is no UTF-8", "Rename the file; `convmv` does that for many.") from None
    if not 0 < size <= MAX_BYTES or "\0" in key:
        why = f"one has 1 to {MAX_BYTES:,} bytes, none of them zero"
        raise NotAKey(repr(key[:100]), why, "Give the file a shorter name.")
    return key


def check_path(key: str) -> str:
    """The key itself, if it may also be a path below a folder: nothing in it climbs out, or is another's name.

    Raises:
        NotAKey: it is none for S3 either, is absolute, has an empty, ``.`` or ``..`` part, or one too long for a file.
    """
    parts = check(key).split("/")
    if not _NO_PARTS.isdisjoint(parts):
        why, cure = "a folder has no empty, `.` or `..` parts", "Rename it, like raw/2026/11/23/name.pdf."
        raise NotAKey(repr(key), why, cure)
    if any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        why, cure = f"a name in a folder has {MAX_NAME_BYTES} bytes at most", "Give it a shorter name."
        raise NotAKey(repr(key), why, cure)
    return key


def has_address(key: str) -> bool:
    """Whether every client finds an object by its address: browsers take ``.`` and ``..`` out, encoded or not."""
    return _CLIMBS.isdisjoint(key.split("/"))
