"""Certificates of what real workers made of the samples, by command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from aseagi_tasks import services
from aseagi_tasks.errors import NotADocument
from aseagi_tasks.settings import settings
from aseagi_tasks.tasks import process
from tests.chain.conftest import ASEAGI, WAIT_S

pytestmark = pytest.mark.usefixtures("stack")
CHOSEN = ("01-motion.pdf", "07-photograph.jpg", "08-duplex.pdf")


def aseagi(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **settings}
    return subprocess.run([*ASEAGI, *arguments], env=environment, capture_output=True, text=True, timeout=WAIT_S)


def test_samples_are_certified_signed_and_verified_and_a_changed_byte_is_named(samples: Path, tmp_path: Path) -> None:
    key, public = str(tmp_path / "key"), str(tmp_path / "key.pub")
    fingerprint = json.loads(aseagi("make-key", key, "--json").stdout)["fingerprint"]
    (tmp_path / "word.pdf").write_bytes(b"PK\x03\x04 word/ is no PDF")
    queued = [process.delay(str(samples / name)) for name in CHOSEN]
    broken = process.delay(str(tmp_path / "word.pdf"))
    results = [one.get(timeout=WAIT_S) for one in queued]
    with pytest.raises(NotADocument, match="word"):
        broken.get(timeout=WAIT_S)
    again = process.delay(str(samples / CHOSEN[0]))
    again.get(timeout=WAIT_S)

    run = [one.id for one in (*queued, broken, again)]
    options = [option for job_id in run for option in ("--job", job_id)]
    made = json.loads(aseagi("certificate", *options, "--json", ASEAGI_SIGNING_KEY_FILE=key).stdout)
    totals = made["totals"]
    assert (totals["balanced"], totals["files"], totals["documents"]) == (True, 5, 3)
    assert (totals["outcomes"]["completed"], totals["outcomes"]["failed"], totals["uncounted"]) == (4, 1, 1)
    assert totals["pages"] == sum(result["pages"] for result in results) + results[0]["pages"]
    assert totals["text_from"]["blank"] >= 2 and totals["text_from"]["tesseract"] >= 3
    assert [one["name"] for one in made["exceptions"]] == ["word.pdf"]
    assert made["fingerprint"] == fingerprint

    storage = services.storage()
    storage.download(made["pdf"], tmp_path / "page.pdf")
    text = subprocess.run(["pdftotext", str(tmp_path / "page.pdf"), "-"], capture_output=True, text=True).stdout
    assert "BALANCES" in text and fingerprint in text and "word.pdf" in text

    held = aseagi("verify", made["key"], "--key", public)
    assert held.returncode == 0 and "holds" in held.stdout and fingerprint in held.stdout, held.stderr
    storage.download(made["key"], tmp_path / "cert.json")
    assert json.loads(aseagi("verify", str(tmp_path / "cert.json"), "--json").stdout)["holds"]

    altered = settings().home / settings().bucket / results[1]["keys"]["ocr.txt"]
    before = altered.read_bytes()
    shutil.copy(altered, tmp_path / "kept")
    altered.write_bytes(bytes([before[0] ^ 1]) + before[1:])
    try:
        differs = aseagi("verify", made["key"], "--key", public, "--json")
        told = json.loads(differs.stdout)
        assert differs.returncode == 3 and "1 differences" in differs.stderr and not told["holds"]
        assert [(one["kind"], one["key"]) for one in told["files"]] == [("altered", results[1]["keys"]["ocr.txt"])]
    finally:
        shutil.copy(tmp_path / "kept", altered)

    aseagi("make-key", str(tmp_path / "other"))
    refused = aseagi("verify", made["key"], "--key", str(tmp_path / "other.pub"))
    assert refused.returncode == 3 and "was asked for" in refused.stdout
    elsewhere = aseagi("verify", str(tmp_path / "cert.json"), ASEAGI_BUCKET="another-bucket")
    assert elsewhere.returncode == 5 and "ASEAGI_BUCKET" in elsewhere.stderr
    Path(key).chmod(0o644)
    open_key = aseagi("certificate", *options, ASEAGI_SIGNING_KEY_FILE=key)
    assert open_key.returncode == 5 and "chmod 600" in open_key.stderr
