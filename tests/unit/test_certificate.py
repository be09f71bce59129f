"""The certificate in itself: sums, chain, signature, its page, the key; and what gives tampering away."""

from __future__ import annotations

import contextlib
import json
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aseagi_tasks.errors import ConfigError, NotACertificate
from aseagi_tasks.reports.certificate import Certificate, Entry, add_up, faults, fingerprint, issue, read
from aseagi_tasks.reports.certificate_page import draw
from aseagi_tasks.stores.signing_key import fingerprint_of, load_key, make_key

ROOT = Path(__file__).parents[2]
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes([7] * 32))


def entry(number: int, **changes: Any) -> Entry:
    """A completed file of three pages."""
    folder = f"processed/2026/11/24/{number:016x}"
    values: dict[str, Any] = {
        "job_id": f"{number:08x}-0000-4000-8000-000000000000",
        "name": f"exhibit {number} é漢.pdf",
        "source": f"raw/2026/11/24/{number:016x}.pdf",
        "created_at": f"2026-11-24T10:00:{number % 60:02d}.000000+00:00",
        "ended_at": "2026-11-24T11:00:00.000000+00:00",
        "outcome": "completed",
        "reason": None,
        "document_id": f"{number:016x}",
        "sha256": f"{number:064x}",
        "made_by": f"{number:08x}-0000-4000-8000-000000000000",
        "pages": 3,
        "text_from": {"blank": 1, "tesseract": 2},
        "engine": "tesseract 5",
        "analyst": "rules 1",
        "model": None,
        "prompt_version": None,
        "files": {f"{folder}/metadata.json": "0" * 64, f"{folder}/ocr.txt": "1" * 64},
    }
    return Entry(**{**values, **changes})


def ended(number: int, outcome: str, pages: int | None = None, reason: str = "Encrypted: it is locked") -> Entry:
    """A file that was not completed."""
    text_from = {"unread": pages} if pages else {}
    nothing = {"files": {}, "made_by": None, "engine": None, "analyst": None}
    return entry(number, outcome=outcome, reason=reason, pages=pages, text_from=text_from, **nothing)


def made(*entries: Entry, key: Ed25519PrivateKey | None = KEY) -> Certificate:
    return issue(
        entries,
        program="aseagi 0",
        bucket="b",
        scope="2026-11-24",
        made_at="2026-11-25T00:20:00+00:00",
        key=key,
    )


def altered(certificate: Certificate, change: Callable[[dict[str, Any]], object]) -> Certificate:
    """The certificate as somebody changed its file."""
    plain = json.loads(certificate.as_bytes())
    change(plain)
    return read(json.dumps(plain).encode(), "cert.json")


ALL = [entry(1), ended(2, "quarantined", 5), ended(3, "cancelled"), ended(4, "failed", 2)]


def test_every_ended_file_is_accounted_for() -> None:
    certificate = made(*ALL)
    totals = certificate.totals
    assert totals.balanced
    assert totals.outcomes == {"completed": 1, "quarantined": 1, "cancelled": 1, "failed": 1, "open": 0}
    assert (totals.files, totals.documents) == (4, 4)
    assert (totals.pages, totals.text_from, totals.uncounted) == (10, {"blank": 1, "tesseract": 2, "unread": 7}, 1)
    assert faults(certificate) == []
    assert next((e.outcome, why) for e, why in certificate.exceptions()) == ("quarantined", "Encrypted: it is locked")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (ended(9, "open", reason="still at ocr"), "still at ocr"),
        (entry(9, files={}, text_from={}), "published set is not complete"),
        (entry(9, text_from={"tesseract": 2}), "3 pages in, 2 accounted for"),
        (entry(9, pages=None), "0 pages in, 3 accounted for"),
    ],
)
def test_what_is_not_accounted_for_is_named_and_does_not_balance(wrong: Entry, said: str) -> None:
    certificate = made(*ALL, wrong)
    assert not certificate.totals.balanced
    (fault,) = faults(certificate)
    assert "does not balance" in fault and wrong.name in fault and said in fault
    assert said in {e.job_id: why for e, why in certificate.exceptions()}[wrong.job_id]


def test_unread_page_of_a_completed_file_is_an_exception() -> None:
    certificate = made(entry(1, text_from={"tesseract": 2, "unread": 1}))
    assert certificate.totals.balanced
    assert [why for _, why in certificate.exceptions()] == ["1 pages unread"]


def test_failure_that_a_later_job_made_good_says_so() -> None:
    again = entry(2, document_id=f"{1:016x}", sha256=f"{1:064x}")
    ((_, why),) = made(ended(1, "failed"), again).exceptions()
    assert why.endswith("(completed as job 00000002)")


def test_order_of_entries_given_does_not_matter_and_an_empty_certificate_holds() -> None:
    assert made(*reversed(ALL)) == made(*ALL)
    assert faults(made()) == [] and made().totals.balanced


def test_file_is_read_back_as_it_was() -> None:
    certificate = made(*ALL)
    assert read(certificate.as_bytes(), "x") == certificate
    assert certificate.as_bytes().decode().count("\n") > len(ALL)


TAMPERING: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a digit of a hash of a file": (
        lambda c: c["entries"][0]["files"].update({next(iter(c["entries"][0]["files"])): "f" * 64}),
        r"entry 1 .* does not follow from the header",
    ),
    "a name": (lambda c: c["entries"][1].update(name="other.pdf"), "entry 2 .*does not follow from entry 1"),
    "an entry removed": (lambda c: c["entries"].pop(1), "entry 2 .*job 00000003.*does not follow from entry 1"),
    "the last removed": (lambda c: c["entries"].pop(), "removed or added at the end"),
    "all removed": (lambda c: c["entries"].clear(), "removed or added at the end"),
    "two changed places": (lambda c: c["entries"].insert(0, c["entries"].pop(2)), "entry 1 .*altered or moved"),
    "one twice": (lambda c: c["entries"].append(c["entries"][-1]), "entry 5 .*does not follow"),
    "the scope": (lambda c: c.update(scope="2026-11-23"), "entry 1 .*does not follow from the header"),
    "the sums": (lambda c: c["totals"].update(files=3), "sums are not those of the entries: files"),
    "the balance": (lambda c: c["totals"].update(balanced=False), "balanced"),
    "the signature taken away": (lambda c: c.update(signature=None), "signature was taken away"),
    "the key taken away": (lambda c: c.update(public_key=None), "no key that it could be of"),
    "no base64": (lambda c: c.update(signature="é"), "signature is not of this certificate"),
    "another's signature": (lambda c: c.update(signature=made(entry(7)).signature), "signature is not of this"),
    "the last hash": (lambda c: c.update(hash="0" * 64), "removed or added at the end"),
}


@pytest.mark.parametrize("what", TAMPERING)
def test_tampering_shows(what: str) -> None:
    change, said = TAMPERING[what]
    assert re.search(said, "\n".join(faults(altered(made(*ALL), change))))


def test_any_changed_value_shows() -> None:
    """Every leaf of the file, changed one at a time."""
    plain = json.loads(made(*ALL).as_bytes())

    def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
        return [path] if items is None else [leaf for key, below in items for leaf in leaves(below, (*path, key))]

    chance = random.Random(6)
    paths = leaves(plain)
    assert len(paths) > 60
    for path in paths:
        copy = json.loads(json.dumps(plain))
        at = copy
        for key in path[:-1]:
            at = at[key]
        old = at[path[-1]]
        new = [not old] if isinstance(old, bool) else [old + 1] if isinstance(old, int) else []
        at[path[-1]] = new[0] if new else f"{old or ''}{chance.choice('abc')}"
        with contextlib.suppress(NotACertificate):
            assert faults(read(json.dumps(copy).encode(), "x")), path


def test_resealed_by_somebody_else_is_noticed_by_who_insists_on_a_key() -> None:
    ours = fingerprint(made(key=KEY).public_key or "")
    forged, unsigned = made(entry(1), key=OTHER_KEY), made(entry(1), key=None)
    assert faults(forged) == [] == faults(unsigned)
    assert "was asked for" in faults(forged, ours)[0]
    assert "it is not signed" in faults(unsigned, ours)[0]
    assert faults(made(entry(1)), ours) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Invalid JSON"),
        (b"%PDF-1.4", "Invalid JSON"),
        (b"[]", "object"),
        (b"{}", "Field required"),
        (json.dumps({**json.loads(made().as_bytes()), "note": "x"}).encode(), "note"),
        (made().as_bytes().replace(b'"files":0', b'"files":"0"'), "totals.files"),
        (made().as_bytes().replace(b'"open":0', b'"opened":0'), "totals.outcomes"),
    ],
)
def test_something_else_is_refused_with_what_is_wrong(body: bytes, said: str) -> None:
    with pytest.raises(NotACertificate, match=re.escape(said)):
        read(body, "x.json")


def test_stranger_checks_it_with_the_lines_in_the_design(tmp_path: Path) -> None:
    (program,) = re.findall(r"```python\n(import base64.*?)```", (ROOT / "DESIGN.md").read_text(), re.DOTALL)
    assert len(program.strip().splitlines()) <= 20

    def run(body: bytes) -> subprocess.CompletedProcess[str]:
        (tmp_path / "cert.json").write_bytes(body)
        (tmp_path / "check.py").write_text(program)
        arguments = [sys.executable, str(tmp_path / "check.py"), str(tmp_path / "cert.json")]
        return subprocess.run(arguments, capture_output=True, text=True)

    good = made(*ALL).as_bytes()
    assert run(good).stdout.startswith("4 files,")
    assert run(made(*ALL, key=None).as_bytes()).returncode == 0
    assert run(good.replace(b"exhibit 2", b"exhibit 5")).returncode != 0
    other = json.loads(good) | {"signature": made(entry(7)).signature}
    assert "InvalidSignature" in run(json.dumps(other).encode()).stderr


@pytest.mark.parametrize("failed", [0, 3, 400])
@pytest.mark.parametrize("key", [KEY, None])
def test_page_is_one_page_whatever_there_is(failed: int, key: Ed25519PrivateKey | None, tmp_path: Path) -> None:
    many = [entry(n, engine=f"engine {n % 9}") for n in range(50)]
    certificate = made(*many, *(ended(100 + n, "failed", reason="Bad: " + "why " * 99) for n in range(failed)), key=key)
    page = draw(certificate, "exports/certificates/x.json")
    assert page == draw(certificate, "exports/certificates/x.json")
    (tmp_path / "page.pdf").write_bytes(page)
    asked = ["pdfinfo", str(tmp_path / "page.pdf")], ["pdftotext", "-layout", str(tmp_path / "page.pdf"), "-"]
    info, text = (subprocess.run(a, capture_output=True, text=True, check=True).stdout for a in asked)
    assert re.search(r"Pages: +1\n", info)
    assert certificate.hash in text and "BALANCES" in text and "aseagi verify" in text
    assert (certificate.fingerprint or "not signed") in text
    listed = text.count("Bad: why")
    assert listed == failed if failed < 9 else f"and {failed - listed} more, by name in the JSON" in text


def test_page_says_that_it_does_not_balance_and_names_what_is_open_first(tmp_path: Path) -> None:
    certificate = made(*(ended(n, "failed") for n in range(90)), ended(99, "open", reason="still at ocr"))
    (tmp_path / "page.pdf").write_bytes(draw(certificate, "k"))
    asked = ["pdftotext", "-layout", str(tmp_path / "page.pdf"), "-"]
    text = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert "DOES NOT BALANCE" in text and "still at ocr" in text


def test_key_is_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "key"
    made_fingerprint = make_key(path)
    assert path.stat().st_mode & 0o777 == 0o600
    signed = made(entry(1), key=load_key(path))
    assert faults(signed, fingerprint_of(str(tmp_path / "key.pub"))) == []
    assert signed.fingerprint == made_fingerprint == fingerprint_of(made_fingerprint.upper())
    with pytest.raises(ConfigError, match="is there already"):
        make_key(path)
    for mode in (0o640, 0o604):
        path.chmod(mode)
        with pytest.raises(ConfigError, match=f"can be read by others .*{mode:o}.*chmod 600"):
            load_key(path)


@pytest.mark.parametrize("body", [b"", b"no key", "public"])
def test_file_without_such_a_key_is_refused(body: bytes | str, tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    path = tmp_path / "other"
    path.write_bytes((tmp_path / "key.pub").read_bytes() if isinstance(body, str) else body)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=r"ASEAGI_SIGNING_KEY_FILE.*holds no Ed25519 key"):
        load_key(path)
    with pytest.raises(ConfigError, match=r"cannot be read.*make-key"):
        load_key(tmp_path / "none")
    with pytest.raises(ConfigError, match=r"--key.*holds no public"):
        fingerprint_of(str(tmp_path / "key"))


def test_sums_of_many() -> None:
    chance = random.Random(4)
    kinds = ["completed", "quarantined", "cancelled", "failed", "open"]
    for _ in range(50):
        outcomes = chance.choices(kinds, k=chance.randrange(30))
        entries = [
            entry(n) if o == "completed" else ended(n, o, chance.choice([None, n])) for n, o in enumerate(outcomes)
        ]
        totals = add_up(entries)
        assert totals.files == sum(totals.outcomes.values()) == len(entries)
        assert totals.pages == sum(totals.text_from.values())
        assert totals.balanced == ("open" not in outcomes)
