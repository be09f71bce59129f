"""The completeness certificate: every file that was handed in, how it ended, and the SHA-256 of all that belongs to it.

Pure: entries come in, a certificate goes out. To check one by hand (DESIGN.md has the program):

- Canonical form: JSON in UTF-8, keys sorted, no spaces, nothing escaped needlessly (RFC 8785; no fractions occur).
- The chain begins with the SHA-256 (hex digits) of the canonical header: all but ``entries``, ``hash``, ``signature``.
- Each entry's ``hash`` is the SHA-256 of the digits before it and the canonical entry without ``hash``; the last
  one is the certificate's.
- ``signature`` is Ed25519 over ``aseagi certificate 1 `` and the certificate's ``hash``, in ASCII.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, get_args

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from aseagi_tasks.documents import Frozen
from aseagi_tasks.errors import NotACertificate

#: How a file ended; ``open`` is what has not.
Outcome = Literal["completed", "quarantined", "cancelled", "failed", "open"]
ENDED: tuple[Outcome, ...] = ("completed", "quarantined", "cancelled", "failed")
UNREAD = "unread"


class Entry(Frozen):
    """One file that was handed in: one job. Moments are ISO 8601, UTC.

    Attributes:
        source: its key in the bucket; of a job that found no document, what it was asked for.
        reason: why it is not completed; class and sentence.
        made_by: the job whose results these are: another one where the same bytes were sent or processed again.
        pages: as the records have it; None where nobody got as far as counting them.
        text_from: pages by where their text comes from, as ``metadata.json`` has it; ``unread`` of what did not end.
        files: the published set, key → SHA-256, ``metadata.json`` with it.
    """

    job_id: str
    name: str
    source: str
    created_at: str
    ended_at: str | None
    outcome: Outcome
    reason: str | None
    document_id: str | None
    sha256: str | None
    made_by: str | None
    pages: int | None
    text_from: dict[str, int]
    engine: str | None
    analyst: str | None
    model: str | None
    prompt_version: str | None
    files: dict[str, str]

    @property
    def lacks(self) -> str:
        """What keeps the certificate from balancing; empty where all is accounted for."""
        if self.outcome == "open":
            return self.reason or "has not ended"
        if self.outcome == "completed" and not self.files:
            return "completed, and its published set is not complete"
        counted = sum(self.text_from.values())
        if counted != (self.pages or 0):
            return f"{self.pages or 0} pages in, {counted} accounted for"
        return ""


class ChainedEntry(Entry):
    """An entry in its place in the chain."""

    hash: str


class Totals(Frozen):
    """The sums. A file that was sent twice counts twice, and so do its pages; ``documents`` counts different bytes."""

    files: int
    documents: int
    outcomes: dict[str, int]
    pages: int
    text_from: dict[str, int]
    #: files whose pages nobody counted: they ended before that
    uncounted: int
    #: files in = completed + quarantined + cancelled + failed, and pages in = pages accounted for
    balanced: bool


class Header(Frozen):
    """What is certified, by whom. The chain begins with it.

    Attributes:
        scope: ``2026-11-24`` for the files of that UTC day, ``run`` for those that somebody named,
            ``run-`` and its id for those of a bulk run.
        public_key: of who signs, 32 bytes in base64; None where nobody does.
    """

    version: Literal[1]
    program: str
    bucket: str
    scope: str
    made_at: str
    public_key: str | None
    totals: Totals


class Certificate(Header):
    """Header, entries in the order in which they came, and what holds them together."""

    entries: tuple[ChainedEntry, ...]
    hash: str
    signature: str | None

    def as_bytes(self) -> bytes:
        """The file: an entry a line."""
        # written piece by piece: joined, the file would be in memory three times, and 100,000 entries have 120 MB
        file = io.BytesIO(b"{\n")
        file.seek(0, io.SEEK_END)
        for name, value in _plain(self, exclude={"entries", "hash", "signature"}).items():
            file.write(f'"{name}": {_text(value)},\n'.encode())
        file.write(b'"entries": [')
        for number, entry in enumerate(self.entries):
            file.write((",\n" if number else "\n").encode() + _text(_plain(entry)).encode())
        file.write(f'\n],\n"hash": {_text(self.hash)},\n"signature": {_text(self.signature)}\n}}\n'.encode())
        return file.getvalue()

    @property
    def fingerprint(self) -> str | None:
        """Of the public key; None where it is not signed."""
        return None if self.public_key is None else fingerprint(self.public_key)

    def exceptions(self) -> Iterator[tuple[ChainedEntry, str]]:
        """Entries that are not simply completed, and why; one that a later job made good says so."""
        done = {entry.sha256: entry.job_id for entry in self.entries if entry.outcome == "completed" and entry.sha256}
        done |= {entry.source: entry.job_id for entry in self.entries if entry.outcome == "completed"}
        for entry in self.entries:
            unread = entry.text_from.get(UNREAD, 0) if entry.outcome == "completed" else 0
            if entry.outcome == "completed" and not entry.lacks and not unread:
                continue
            why = entry.lacks or entry.reason or (f"{unread} pages unread" if unread else "")
            good = done.get(entry.sha256 or entry.source) if entry.outcome != "completed" else None
            yield entry, why + (f" (completed as job {good[:8]})" if good else "")

    def summary(self) -> str:
        """The balance in a sentence."""
        totals = self.totals
        ended = " + ".join(f"{totals.outcomes[name]} {name}" for name in ENDED)
        pages = sum(totals.text_from.values())
        files = f"{totals.files} files in = {ended}"
        if totals.outcomes["open"]:
            files += f", and {totals.outcomes['open']} open"
        return f"{files}; {totals.pages} pages in, {pages} accounted for"


def issue(
    entries: Iterable[Entry], *, program: str, bucket: str, scope: str, made_at: str, key: Ed25519PrivateKey | None
) -> Certificate:
    """Add up, chain and, with a key, sign.

    Args:
        entries: in any order.
        made_at: now, ISO 8601, UTC.
    """
    ordered = sorted(entries, key=lambda entry: (entry.created_at, entry.job_id))
    header = Header(
        version=1,
        program=program,
        bucket=bucket,
        scope=scope,
        made_at=made_at,
        public_key=None if key is None else base64.b64encode(key.public_key().public_bytes_raw()).decode(),
        totals=add_up(ordered),
    )
    running, chained = _first(header), []
    for entry in ordered:
        running = _next(running, entry)
        chained.append(ChainedEntry(**dict(entry), hash=running))
    signature = None if key is None else base64.b64encode(key.sign(_signed(running))).decode()
    return Certificate(**dict(header), entries=tuple(chained), hash=running, signature=signature)


def read(body: bytes, name: str) -> Certificate:
    """A certificate from its file.

    Args:
        name: for messages.
    Raises:
        NotACertificate: it is something else, or holds what a certificate does not.
    """
    try:
        certificate = Certificate.model_validate_json(body, strict=True)
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise NotACertificate(name, f"{first['msg']}{f' ({where})' if where else ''}") from None
    if set(certificate.totals.outcomes) != set(get_args(Outcome)):
        raise NotACertificate(name, "its outcomes are not those that there are (totals.outcomes)")
    return certificate


def add_up(entries: Sequence[Entry]) -> Totals:
    """The sums of entries."""
    outcomes, text_from = Counter(entry.outcome for entry in entries), Counter[str]()
    for entry in entries:
        text_from.update(entry.text_from)
    return Totals(
        files=len(entries),
        documents=len({entry.sha256 for entry in entries if entry.sha256}),
        outcomes={outcome: outcomes[outcome] for outcome in get_args(Outcome)},
        pages=sum(entry.pages or 0 for entry in entries),
        text_from={source: text_from[source] for source in sorted(text_from)},
        uncounted=sum(entry.pages is None for entry in entries),
        balanced=not any(entry.lacks for entry in entries),
    )


def faults(certificate: Certificate, insist_on: str | None = None) -> list[str]:
    """What is wrong with a certificate in itself: chain, signature, sums. Empty: it is as it was issued.

    Args:
        insist_on: fingerprint of the key that it must be signed with.
    """
    return [*_chain_faults(certificate), *_signature_faults(certificate, insist_on), *_sum_faults(certificate)]


def fingerprint(public_key: str) -> str:
    """SHA-256 of a public key's 32 bytes, 64 hex digits.

    Args:
        public_key: base64.
    Raises:
        ValueError: it is no base64.
    """
    return hashlib.sha256(base64.b64decode(public_key, validate=True)).hexdigest()


def _chain_faults(certificate: Certificate) -> Iterator[str]:
    """Goes on from each entry's own hash, so that every place where the chain is broken is named."""
    running = _first(Header(**{name: getattr(certificate, name) for name in Header.model_fields}))
    before = "the header"
    for number, entry in enumerate(certificate.entries, 1):
        if _next(running, entry) != entry.hash:
            yield f"entry {number} ({entry.name}, job {entry.job_id}) does not follow from {before}: altered or moved"
        running, before = entry.hash, f"entry {number}"
    if running != certificate.hash:
        yield f"the last hash is not that of {before}: entries were removed or added at the end"


def _signature_faults(certificate: Certificate, insist_on: str | None) -> Iterator[str]:
    key, signature = certificate.public_key, certificate.signature
    if key is None or signature is None:
        if key is not None or signature is not None:
            yield "the signature was taken away" if key else "there is a signature, and no key that it could be of"
        elif insist_on is not None:
            yield f"it is not signed, and the key {insist_on[:16]}… was asked for"
        return
    try:
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key, validate=True))
        public.verify(base64.b64decode(signature, validate=True), _signed(certificate.hash))
    except (ValueError, InvalidSignature):
        yield "the signature is not of this certificate and its key"
        return
    if insist_on is not None and fingerprint(key) != insist_on:
        yield f"it is signed with the key {fingerprint(key)[:16]}…, and {insist_on[:16]}… was asked for"


def _sum_faults(certificate: Certificate) -> Iterator[str]:
    found = add_up(certificate.entries)
    wrong = [name for name in Totals.model_fields if getattr(found, name) != getattr(certificate.totals, name)]
    if wrong:
        yield f"the sums are not those of the entries: {', '.join(wrong)}"
    for entry in certificate.entries:
        if entry.lacks:
            yield f"it does not balance: {entry.name} (job {entry.job_id}): {entry.lacks}"


def _first(header: Header) -> str:
    return hashlib.sha256(_text(_plain(header)).encode()).hexdigest()


def _next(running: str, entry: Entry) -> str:
    body = _text(_plain(entry, exclude={"hash"}))
    return hashlib.sha256(f"{running}{body}".encode()).hexdigest()


def _signed(last_hash: str) -> bytes:
    return f"aseagi certificate 1 {last_hash}".encode()


def _plain(model: Frozen, exclude: set[str] | None = None) -> dict[str, Any]:
    return model.model_dump(mode="json", exclude=exclude)


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
