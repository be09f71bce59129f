"""What Claude costs: tokens and USD by model, for whole-document vision, text only, ours, and ours by batch.

    python benchmarks/analysis_cost.py [FOLDER] [--read 2]

For the documents of FOLDER (default: the corpus) and for 1,000 made-up documents of 1, 5, 50 and 500 pages, whose pages
are those of the corpus that have text. Requests are made by the same code that sends them; their tokens are counted by
the rules of the local server under ``tests/`` (three letters make a token, and so do 28 x 28 pixels), since there is no
tokenizer to be had. Of scanned documents so many pages are recognized as ``--read`` says; the others are taken for as
long as these. Batches do without the prompt cache, the others have a hit for every document but the first.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from aseagi_tasks.analysis import asking, prices, question  # noqa: E402
from aseagi_tasks.documents import Page, Reading  # noqa: E402
from aseagi_tasks.reading.tesseract import Tesseract  # noqa: E402
from aseagi_tasks.stages.fetch import identify  # noqa: E402
from aseagi_tasks.stages.ocr import ocr  # noqa: E402
from aseagi_tasks.stages.rasterize import rasterize  # noqa: E402
from tests.servers.anthropic import tokens as counted  # noqa: E402

CORPUS = ROOT.parent / "shared" / "corpus" / "court"
DOCUMENTS, PAGES = 1_000, (1, 5, 50, 500)
#: The service's limit for one request.
MAX_IMAGES = 600
EDGES = (asking.SURE_EDGE_PX, asking.EDGE_PX)
GOAL_USD, GOAL_PAGES, GOAL_MODEL = 0.50, 5, "claude-haiku-5-5"
WAYS = ("whole-document vision", "text only", "ours", "ours by batch")
#: What a full answer looks like: every field, two parties, four people, five dates.
ANSWER: dict[str, Any] = {
    **{
        field: {"value": "United States District Court", "quote": "UNITED STATES DISTRICT COURT FOR THE", "page": 1}
        for field in ("document_type", "document_date", "filed_date", "case_number", "court", "title")
    },
    "summary": "The plaintiff moves to compel answers to interrogatories that were served in January. " * 3,
    "relevancy": {"value": 70, "reason": "It decides what the defendant must produce before trial."},
    "language": "en",
    "parties": [{"name": "Wexmoor Logistics LLC", "role": "defendant", "quote": "WEXMOOR LOGISTICS LLC,", "page": 1}]
    * 2,
    "people": [{"value": "Avery Pellworth", "quote": "Declaration of Avery Pellworth", "page": 2}] * 4,
    "key_dates": [{"value": "2024-03-04", "quote": "on March 4, 2024, at 9:00 a.m.", "page": 3}] * 5,
}
OUTPUT = asking.text_tokens(json.dumps(ANSWER))


class Bill(NamedTuple):
    """Tokens and USD of some documents in one way."""

    input: int
    output: int
    usd: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=CORPUS, help="documents; default: the corpus")
    parser.add_argument("--read", type=int, default=2, help="scanned pages of each document to recognize")
    arguments = parser.parse_args()
    if not arguments.folder.is_dir():
        sys.exit(f"no documents at {arguments.folder}; name a folder that has some")
    readings = list(read_all(arguments.folder, arguments.read))
    pages = [page for reading in readings for page in reading.pages if page.lines]
    mean = sum(asking.text_tokens(page.text) for page in pages) / len(pages)
    sure, unsure = (sum(asking.image_tokens(page, edge) for page in pages) / len(pages) for edge in EDGES)
    print(
        f"{len(readings)} documents, {sum(len(r.pages) for r in readings)} pages; a page of text has {mean:.0f} tokens,"
        f" its image {sure:.0f} ({unsure:.0f} where it was hard to read), instructions and schema {frame()}, a full"
        f" answer {OUTPUT}.\nPrices of {prices.AS_OF}, {prices.SOURCE}\n"
    )
    check_reckoning(readings)
    show("the corpus", readings)
    for count in PAGES:
        variants = [made_up(pages, count, start) for start in range(10)]
        show(f"{DOCUMENTS:,} documents of {count} page{'s' * (count > 1)}", variants * (DOCUMENTS // len(variants)))
    worth_of_the_cache()


def read_all(folder: Path, limit: int) -> Iterator[Reading]:
    recognizer = Tesseract("eng")
    for path in sorted(folder.iterdir()):
        if path.suffix not in (".pdf", ".png", ".jpg", ".tif"):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            reading = rasterize(
                *(path, path.name, identify(path, path.name), Path(scratch)),
                **{"dpi": 300, "max_pages": 2000, "max_page_pixels": 40_000_000, "timeout_s": 120},  # type: ignore[arg-type]
            )
            unread = [page.number for page in reading.pages if page.source is None]
            some = [page for page in reading.pages if page.source is None and page.number in unread[:limit]]
            found = ocr(reading.model_copy(update={"pages": tuple(some)}), Path(scratch), recognizer).pages
        done = {page.number: page for page in found}
        like = [page for page in found if page.lines] or list(found)
        yield reading.model_copy(
            update={
                "pages": tuple(
                    done.get(page.number)
                    or (page if page.source else like[at % len(like)].model_copy(update={"number": page.number}))
                    for at, page in enumerate(reading.pages)
                )
            }
        )


def made_up(pages: Sequence[Page], count: int, start: int) -> Reading:
    """A document of the corpus' pages, in turn."""
    chosen = (pages[(start * 7 + n) % len(pages)] for n in range(count))
    return Reading(
        engine="none", pages=tuple(page.model_copy(update={"number": n}) for n, page in enumerate(chosen, 1))
    )


def frame() -> int:
    """Instructions and schema, as the local server counts them."""
    return counted({**asking._asked(GOAL_MODEL, question.INSTRUCTIONS, [], 1), "messages": []})


def prompts(reading: Reading, way: str) -> list[int]:
    """Tokens of each call's prompt."""
    pages = [page for page in reading.pages if page.source != "blank"]
    if way == "whole-document vision":
        images = [asking.image_tokens(page, asking.EDGE_PX) for page in pages]
        return [frame() + sum(images[at : at + MAX_IMAGES]) for at in range(0, len(images), MAX_IMAGES)]
    if way == "text only":
        return [frame() + sum(asking.text_tokens(page.text) + 12 for page in pages)]
    parts = asking.parts(reading)
    merge = [frame() + asking.text_tokens(question.MERGE) + len(parts) * (OUTPUT + 10)] if len(parts) > 1 else []
    return [frame() + part.tokens for part in parts] + merge


def bill(readings: Sequence[Reading], way: str, model: str) -> Bill:
    made: dict[int, list[int]] = {}
    total, first, framed = [0, 0, 0.0], True, frame()
    for reading in readings:
        calls = made.setdefault(id(reading), [])
        calls += prompts(reading, way) if not calls else []
        for size in calls:
            cached = framed if way != "ours by batch" and framed >= prices.MODELS[model].cacheable_tokens else 0
            kind = "cache_creation_input_tokens" if first else "cache_read_input_tokens"
            usage = {"input_tokens": size - cached, kind: cached, "output_tokens": OUTPUT}
            total[2] += prices.cost_usd(model, usage, batch=way == "ours by batch")
            total[0], total[1], first = total[0] + size, total[1] + OUTPUT, False
    return Bill(int(total[0]), int(total[1]), total[2])


def show(title: str, readings: Sequence[Reading]) -> None:
    table = Table(
        "", "tokens in", "out", *(f"{model.removeprefix('claude-')} USD" for model in prices.MODELS), title=title
    )
    bills = {way: {model: bill(readings, way, model) for model in prices.MODELS} for way in WAYS}
    for way, by_model in bills.items():
        one = by_model[GOAL_MODEL]
        table.add_row(way, f"{one.input:,}", f"{one.output:,}", *(f"{found.usd:,.4f}" for found in by_model.values()))
    Console(width=120).print(table)
    ours, vision = bills["ours by batch"][GOAL_MODEL].usd, bills[WAYS[0]][GOAL_MODEL].usd
    print(f"ours by batch is {ours / vision:.3f} of whole-document vision with {GOAL_MODEL}")
    if title.startswith(f"{DOCUMENTS:,} documents of {GOAL_PAGES} "):
        met = "met" if ours <= GOAL_USD else "MISSED"
        print(f"goal: at most {GOAL_USD:.2f} USD for these with {GOAL_MODEL}: {met} ({ours:.3f})")
    print()


def check_reckoning(readings: Sequence[Reading]) -> None:
    """What is reckoned here, against the tokens of the requests as they are sent."""
    reckoned = sent = 0
    for reading in readings:
        parts = asking.parts(reading)
        for part in parts:
            images = {
                page.number: picture(page, part.shown[page.number]) for page in part.pages if page.number in part.shown
            }
            request = asking.request(GOAL_MODEL, part, images, len(parts), asking.MAX_TOKENS)
            reckoned, sent = reckoned + frame() + part.tokens, sent + counted(request)
    print(f"reckoned / counted in the requests: {reckoned / max(1, sent):.3f}\n")


def picture(page: Page, edge_px: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", asking.image_size(page, edge_px), 255).save(out, "JPEG")
    return out.getvalue()


def worth_of_the_cache() -> None:
    """From which share of hits on the instructions and the schema the prompt cache pays, and what it can save."""
    for model, about in prices.MODELS.items():
        share = (prices.CACHE_WRITE - 1) / (prices.CACHE_WRITE - about.cache_read)
        long_enough = "long enough" if frame() >= about.cacheable_tokens else "too short"
        usage: Mapping[str, int] = {"input_tokens": frame()}
        saved = (1 - about.cache_read) * prices.cost_usd(model, usage) * DOCUMENTS
        print(
            f"prompt cache, {model}: {frame()} tokens are {long_enough} (at least {about.cacheable_tokens}); pays from"
            f" {share:.0%} hits, saves {saved:.3f} USD of 1,000 documents if all hit"
        )


if __name__ == "__main__":
    main()
