"""Claude's facts on samples and real filings, with a local Anthropic whose answers are recorded-style.

They quote what a model that reads the page would quote, and beside each such quote wrong ones."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from aseagi_tasks.analysis.analyst import Errand
from aseagi_tasks.analysis.claude import ClaudeAnalyst
from aseagi_tasks.analysis.dates import dates
from aseagi_tasks.analysis.evidence import fold, skeleton
from aseagi_tasks.analysis.schema import Analysis
from aseagi_tasks.analysis.service import Service
from aseagi_tasks.documents import Reading
from aseagi_tasks.reading.tesseract import Tesseract
from aseagi_tasks.samples import make_samples
from aseagi_tasks.samples.truth import Truth
from aseagi_tasks.stages.analyze import analyze
from aseagi_tasks.stages.fetch import identify
from aseagi_tasks.stages.ocr import ocr
from aseagi_tasks.stages.rasterize import rasterize
from tests.contract.test_analyst import said
from tests.servers.anthropic import KEY, AnthropicServer

pytestmark = pytest.mark.corpus

#: Of a document so many of the pages that want recognition are read here: they take most of the time.
SCANNED_PAGES = 1
QUOTES = 12


def read(path: Path, scratch: Path, recognizer: Tesseract) -> Reading:
    reading = rasterize(
        *(path, path.name, identify(path, path.name), scratch),
        **{"dpi": 300, "max_pages": 2000, "max_page_pixels": 40_000_000, "timeout_s": 60},  # type: ignore[arg-type]
    )
    unread = [page.number for page in reading.pages if page.source is None]
    pages = tuple(page for page in reading.pages if page.number not in unread[SCANNED_PAGES:])
    return ocr(reading.model_copy(update={"pages": pages}), scratch, recognizer)


@pytest.fixture(scope="module")
def readings(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Reading]:
    """Every sample and every filing."""
    folder, recognizer = tmp_path_factory.mktemp("samples"), Tesseract("eng")
    make_samples(folder)
    paths = [*sorted(folder.iterdir()), *sorted((corpus / "court").iterdir())]
    paths = [path for path in paths if path.suffix in (".pdf", ".tif", ".jpg", ".png")]
    return {path.name: read(path, tmp_path_factory.mktemp(path.stem), recognizer) for path in paths}


@pytest.fixture(scope="module")
def truths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Truth]:
    folder = tmp_path_factory.mktemp("truths")
    make_samples(folder)
    found = (Truth.model_validate_json(path.read_text()) for path in (folder / "truth").glob("*.json"))
    return {truth.file: truth for truth in found}


class Pictures(Errand):
    def images(self, edges_px: Mapping[int, int]) -> dict[int, bytes]:
        out = io.BytesIO()
        Image.new("L", (952, 1232), 255).save(out, "JPEG")
        return dict.fromkeys(edges_px, out.getvalue())


def right_quotes(reading: Reading) -> Iterator[tuple[str, int]]:
    """What stands there: lines, and the end of one with the beginning of the next, a broken word made whole."""
    for page in reading.pages:
        lines = [line for line in page.lines if len(line.text.split()) >= 4]
        for at, line in enumerate(lines[:: max(1, len(lines) // 4)]):
            if at % 2:
                yield line.text, page.number
            follows = page.lines.index(line) + 1
            if not at % 2 and follows < len(page.lines) and page.lines[follows].block == line.block:
                ends, begins = line.text.split()[-3:], page.lines[follows].text.split()[:3]
                whole = f"{' '.join(ends)} {' '.join(begins)}"
                yield re.sub(r"(?<=[a-z])- (?=[a-z])", "", whole), page.number


def wrong_quotes(quote: str) -> Iterator[str]:
    """What does not: another digit, a "not" more, another word, a word less."""
    if digit := re.search(r"\d", quote):
        yield quote[: digit.start()] + str((int(digit[0]) + 3) % 10) + quote[digit.end() :]
    words = quote.split()
    middle = len(words) // 2
    yield " ".join([*words[:middle], "not", *words[middle:]])
    yield " ".join([*words[:middle], "Atlantis", *words[middle + 1 :]])
    if len(words) > 4:
        yield " ".join([*words[:middle], *words[middle + 1 :]])


def facts_of(analysis: Analysis) -> Iterator[Any]:
    for _, value in analysis:
        for one in value if isinstance(value, tuple) else (value,):
            if hasattr(one, "status"):
                yield one


def test_every_field_carries_evidence_or_is_marked_and_a_wrong_quote_is_never_verified(
    readings: dict[str, Reading], truths: dict[str, Truth], capsys: pytest.CaptureFixture[str]
) -> None:
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    missed, fields = [], 0
    with AnthropicServer(lambda _body: answer) as server:
        claude = ClaudeAnalyst(Service(KEY, server.url, timeout_s=20), "claude-haiku-5-5")
        for name, reading in readings.items():
            text = skeleton(fold(" ".join(page.text.replace("-\n", "") for page in reading.pages)))
            quotes = list(right_quotes(reading))[:QUOTES]
            people = [{"value": quote, "quote": quote, "page": page} for quote, page in quotes]
            expected = ["right"] * len(people)
            for quote, page in quotes:
                for other in wrong_quotes(quote):
                    if skeleton(fold(other)) not in text:
                        people.append({"value": other, "quote": other, "page": page})
                        expected.append("wrong")
            answer = said(people=people, summary="A paper.", language="en", **from_truth(truths.get(name), reading))
            found = analyze(reading, name, claude, Pictures())
            for fact in facts_of(found):
                fields += 1
                assert fact.status == "unverified" or (fact.evidence and fact.evidence[0].box)
            if not reading.text.strip():
                continue
            for fact, what in zip(found.people, expected, strict=True):
                (right if what == "right" else wrong)[fact.status] += 1
                if what == "right" and fact.status == "unverified":
                    missed.append((name, fact.value))
            for party in found.parties:
                assert (party.status == "unverified") == party.name.startswith("Nobody")
            if found.case_number is not None:
                assert found.case_number.status == "verified", (name, found.case_number)
    with capsys.disabled():
        print(
            f"\n  evidence: {len(readings)} documents, {fields} fields, all with evidence or marked; right quotes"
            f" {dict(right)}, wrong quotes {dict(wrong)}; right ones not found: {missed[:5]}",
            end="",
        )
    assert sum(wrong.values()) > 250
    assert set(wrong) == {"unverified"}
    assert right["unverified"] <= 0.02 * sum(right.values())


def from_truth(truth: Truth | None, reading: Reading) -> dict[str, Any]:
    """A sample's facts with the line that says each, where recognition has it; and a party that nobody named."""
    if truth is None:
        return {}
    lines = [(line.text, page.number) for page in reading.pages for line in page.lines]
    fields: dict[str, Any] = {}
    if truth.case_number:
        says = [(text, n) for text, n in lines if skeleton(fold(truth.case_number)) in skeleton(fold(text))]
        if says:
            fields["case_number"] = {"value": truth.case_number, "quote": says[0][0], "page": says[0][1]}
    if truth.document_date:
        iso = truth.document_date.isoformat()
        says = [(text, n) for text, n in lines if any(one.iso == iso for one in dates(text))]
        if says:
            fields["document_date"] = {"value": iso, "quote": says[0][0], "page": says[0][1]}
    parties = [{"name": "Nobody At All", "role": "Plaintiff", "quote": "NOBODY AT ALL, Plaintiff", "page": 1}]
    for party in truth.parties:
        says = [(text, n) for text, n in lines if fold(party.name) in fold(text)]
        if says:
            parties.append({"name": party.name, "role": party.role, "quote": says[0][0], "page": says[0][1]})
    return {**fields, "parties": parties}
