"""What of a document is sent to Claude: which pages as images, which as text, in how many calls. Pure.

The first page, the last, and those that recognition was least sure of go as images, without their text: so Claude is a
reader of its own there, and a quote of its that stands in the recognized lines was read twice. The others go as text.
"""

from __future__ import annotations

import base64
import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aseagi_tasks.analysis import prices, question
from aseagi_tasks.documents import Page, Reading

#: Longest edge of an image in pixels: of a page that was hard to read, and of one that was not (DESIGN.md).
EDGE_PX, SURE_EDGE_PX = 1_568, 1_086
#: Recognition was not sure of a page below this mean confidence.
SURE = 0.80
#: At most so many pages go as images only since recognition was not sure of them; the least sure ones.
MAX_UNSURE = 6
#: Text of one call. With images and instructions it stays below 100,000 tokens, where Haiku's price is five times less.
PART_TOKENS = 75_000
#: Claude sees an image in squares of this many pixels, one token each.
PATCH_PX = 28
#: Letters to a token: four with older tokenizers, of which today's make 30 % more.
LETTERS_PER_TOKEN = 3.0
#: First answers are so long at most; one that was cut off is asked for again, larger.
MAX_TOKENS, LARGER = 4_000, 16_000

_BRACKETS = str.maketrans({**dict.fromkeys("<＜﹤", "‹"), **dict.fromkeys(">＞﹥", "›")})


class Part(NamedTuple):
    """What one call is about: some pages in order, and which of them as images with what long edge in pixels."""

    name: str
    pages: tuple[Page, ...]
    shown: dict[int, int]

    @property
    def tokens(self) -> int:
        """Reckoned, without the instructions; the service's own count is asked for before a call."""
        images = sum(image_tokens(page, self.shown[page.number]) for page in self.pages if page.number in self.shown)
        return images + sum(_text_tokens(page) for page in self.pages if page.number not in self.shown)


def parts(reading: Reading) -> tuple[Part, ...]:
    """The document in as few parts as their size allows; blank pages are in none."""
    pages = [page for page in reading.pages if page.source != "blank"]
    shown = chosen(pages)
    runs: list[list[Page]] = [[]]
    size = 0
    for page in pages:
        tokens = image_tokens(page, shown[page.number]) if page.number in shown else _text_tokens(page)
        if runs[-1] and size + tokens > PART_TOKENS:
            runs.append([])
            size = 0
        runs[-1].append(page)
        size += tokens
    return tuple(
        Part(f"p{number}", tuple(run), {page.number: shown[page.number] for page in run if page.number in shown})
        for number, run in enumerate(runs, 1)
        if run
    )


def chosen(pages: Sequence[Page]) -> dict[int, int]:
    """Which pages go as images, and the long edge of each in pixels."""
    unsure = [page for page in pages if page.source != "text-layer" and (page.confidence or 0.0) < SURE]
    unsure = sorted(unsure, key=lambda page: page.confidence or 0.0)[:MAX_UNSURE]
    edges = {page.number: SURE_EDGE_PX for page in (*pages[:1], *pages[-1:])}
    return dict(sorted((edges | {page.number: EDGE_PX for page in unsure}).items()))


def image_size(page: Page, edge_px: int) -> tuple[int, int]:
    """Width and height of a page's image; none is enlarged."""
    scale = min(1.0, edge_px / max(page.width_px, page.height_px))
    return max(1, round(page.width_px * scale)), max(1, round(page.height_px * scale))


def image_tokens(page: Page, edge_px: int) -> int:
    """What an image counts."""
    width, height = image_size(page, edge_px)
    return math.ceil(width / PATCH_PX) * math.ceil(height / PATCH_PX)


def text_tokens(text: str) -> int:
    """What a text counts, reckoned from its length in UTF-8, since other scripts take more."""
    return math.ceil(len(text.encode()) / LETTERS_PER_TOKEN)


def harmless(text: str) -> str:
    """Text that cannot close a fence, nor hide anything from who looks at it.

    Angle brackets of every width become single quotation marks; what cannot be seen (zero-width and tag characters,
    changes of direction, control characters) is left out.
    """
    seen = (c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn"))
    plain = "".join(c for c in seen if not "\ufe00" <= c <= "\ufe0f" and not "\U000e0100" <= c <= "\U000e01ef")
    return plain.translate(_BRACKETS)


def request(model: str, part: Part, images: Mapping[int, bytes], of_parts: int, max_tokens: int) -> dict[str, Any]:
    """The Messages API's parameters for one part.

    Args:
        images: JPEG by page number. A page without one goes as text.
    """
    content: list[dict[str, Any]] = []
    for number in part.shown:
        if number in images:
            content.append({"type": "text", "text": f"Page {number}:"})
            data = base64.b64encode(images[number]).decode()
            content.append({"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": data}})
    rows = [
        f'<page number="{page.number}">\n{harmless(page.text)}\n</page>'
        for page in part.pages
        if page.number not in images and page.lines
    ]
    first, last = part.pages[0].number, part.pages[-1].number
    about = f"Pages {first} to {last} of a longer document.\n" if of_parts > 1 else ""
    content.append({"type": "text", "text": "\n".join([f"{about}<document>", *rows, "</document>"])})
    return _asked(model, question.INSTRUCTIONS, content, max_tokens)


def merge_request(model: str, answers: Mapping[str, str], max_tokens: int) -> dict[str, Any]:
    """The parameters of the call that makes one answer of the parts'.

    Args:
        answers: JSON by part.
    """
    rows = [f'<part name="{name}">\n{harmless(answer)}\n</part>' for name, answer in answers.items()]
    text = "\n".join(["<document>", *rows, "</document>"])
    return _asked(model, f"{question.INSTRUCTIONS}\n\n{question.MERGE}", [{"type": "text", "text": text}], max_tokens)


def uncached(request: dict[str, Any]) -> dict[str, Any]:
    """A request of a batch: writing to the prompt cache costs a quarter more, and there nobody promises a hit."""
    system = [{name: value for name, value in block.items() if name != "cache_control"} for block in request["system"]]
    return {**request, "system": system}


def frame_tokens() -> int:
    """Instructions, merge included, and schema, reckoned: what every call has beside the document."""
    return text_tokens(question.INSTRUCTIONS + question.MERGE + json.dumps(question.schema())) + 200


def bound_usd(model: str, tokens: Mapping[str, int], *, batch: bool = False) -> float:
    """What a document can cost at most, known before its first call: every call answered at full length, and each
    asked once more, larger.

    Args:
        tokens: of each part, instructions included.
    """
    calls = list(tokens.values())
    if len(calls) > 1:
        calls.append(frame_tokens() + len(calls) * LARGER)
    return sum(
        prices.most_usd(model, size, MAX_TOKENS, batch=batch) + prices.most_usd(model, size, LARGER, batch=batch)
        for size in calls
    )


def _asked(model: str, instructions: str, content: list[dict[str, Any]], max_tokens: int) -> dict[str, Any]:
    asked: dict[str, Any] = {
        "model": model,
        "max_tokens": max_tokens,
        # cached for the next document: pays from two hits in nine (DESIGN.md); too short for a model's cache, it is
        # not cached and costs what it did
        "system": [{"type": "text", "text": instructions, "cache_control": {"type": "ephemeral"}}],
        "messages": [{"role": "user", "content": content}],
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": question.schema()}},
    }
    if not prices.MODELS[model].always_thinks:
        asked["thinking"] = {"type": "disabled"}  # it is billed as output, and facts are copied, not thought out
    return asked


def _text_tokens(page: Page) -> int:
    return text_tokens(page.text) + 12
