"""TrOCR as a recognizer: lines found by ``lines``, read by a model, many documents' lines in one batch."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Set
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from aseagi_tasks.documents import Box, Line, Page, Word
from aseagi_tasks.reading.batching import Batcher
from aseagi_tasks.reading.cleaning import without_underlines
from aseagi_tasks.reading.line_model import LineModel, Read, Strip
from aseagi_tasks.reading.lines import find_lines
from aseagi_tasks.reading.recognizer import NEVER
from aseagi_tasks.reading.upright import Detect, Reader, read_upright
from aseagi_tasks.settings import CLEANING, CleaningStep

#: Less sure lines are stains, seals and signatures: text is not invented. A few letters are soon seen in a stain.
MIN_CONFIDENCE, MIN_SHORT_CONFIDENCE, SHORT = 0.6, 0.9, 4
#: Grey levels by which ink is darker than its paper, at least; shadows and folds are not.
_CONTRAST = 32

Grey = NDArray[np.uint8]


class TrOCR:
    """Implements ``Recognizer``. The model is loaded when first used; one process should have one.

    Args:
        model: folder or name of the checkpoint.
        detect: says which way up a page is where measuring leaves it in doubt.
        cleaning: what is done to pages before.
    """

    #: cutting pages into lines is work of the CPU: several at a time keep the device busy
    at_once = 4

    def __init__(self, model: str, detect: Detect, cleaning: Set[CleaningStep] = CLEANING) -> None:
        folder = Path(model)
        self.engine = f"trocr {folder.resolve().name if folder.is_dir() else model}"
        self._name, self._detect, self._cleaning = model, detect, cleaning
        self._loading = threading.Lock()
        self._batcher: Batcher[Strip, Read] | None = None
        self._model: LineModel | None = None

    def load(self) -> tuple[LineModel, Batcher[Strip, Read]]:
        """The model and what batches for it.

        Raises:
            ConfigError: it cannot be loaded.
        """
        with self._loading:
            if self._model is None or self._batcher is None:
                model = LineModel(self._name)
                self._batcher = Batcher(model.read, size=model.size, budget=model.budget(), is_oom=model.is_oom)
                self._model = model
            return self._model, self._batcher

    def read(self, page: Page, image: Path, stop: Event = NEVER) -> Page:
        """Recognize a page; one on which nothing is found has no lines and no confidence.

        Raises:
            Unreadable: the image is damaged. OutOfMemory. Cancelled. ConfigError: the model cannot be loaded.
        """

        def lines(level: Grey, dpi: float) -> tuple[Line, ...]:
            found = find_lines(level, dpi)
            texts = self.read_boxes(level, dpi, [line.box for line in found], stop)
            sure = (text for text in texts if text is not None)
            blocks = {line.box: line.block for line in found}
            return tuple(line.model_copy(update={"block": blocks[line.box]}) for line in sure)

        return read_upright(page, image, Reader("trocr", lines, self._detect, self._cleaning))

    def read_boxes(self, image: Grey, dpi: float, boxes: list[Box], stop: Event = NEVER) -> list[Line | None]:
        """Lines whose boxes are known; None where nothing sure stands. Raises as ``read``."""
        model, batcher = self.load()
        if "underlines" in self._cleaning:
            image = without_underlines(image, dpi)
        crops = (image[box.top : box.bottom, box.left : box.right] for box in boxes)
        pieces = [[] if _is_blank(crop) else model.cut(crop) for crop in crops]
        strips = [strip for piece in pieces for strip in piece]
        found = iter(batcher.read(strips, stop))
        return [_line(box, piece, [next(found) for _ in piece]) for box, piece in zip(boxes, pieces, strict=True)]


def _is_blank(crop: Grey) -> bool:
    """Whether there is too little contrast for ink; models write words even where there are none."""
    low, high = np.percentile(crop, (1, 99))
    return bool(high - low < _CONTRAST)


def _line(box: Box, strips: list[Strip], found: list[Read]) -> Line | None:
    """A line from its strips; None if it is not sure, or empty."""
    text, weight, total = "", 0, 0.0
    for strip, read in zip(strips, found, strict=True):
        if read.text:
            text += (" " if text and strip.after_gap else "") + read.text
            weight += len(read.text)
            total += len(read.text) * read.confidence
    if not text or total / weight < (MIN_SHORT_CONFIDENCE if len(text) <= SHORT else MIN_CONFIDENCE):
        return None
    confidence = round(total / weight, 4)
    return Line(text=text, box=box, confidence=confidence, source="trocr", words=_rejoined(_words(box, strips, found)))


def _words(box: Box, strips: list[Strip], found: list[Read]) -> Iterator[tuple[Word, bool]]:
    """Words with boxes in proportion to their characters: the model says what stands there, not where."""
    for strip, read in zip(strips, found, strict=True):
        each = (strip.right - strip.left) / max(1, len(read.text))
        at = 0
        for number, word in enumerate(read.text.split(" ")):
            if word:
                left = box.left + strip.left + round(at * each)
                right = box.left + strip.left + round((at + len(word)) * each)
                place = Box(left, box.top, max(left + 1, min(right, box.right)), box.bottom)
                yield Word(word, place, read.confidence), number > 0 or strip.after_gap
            at += len(word) + 1


def _rejoined(words: Iterator[tuple[Word, bool]]) -> tuple[Word, ...]:
    """Words that were cut in two made one again."""
    whole: list[Word] = []
    for word, starts in words:
        if whole and not starts:
            last = whole[-1]
            box = Box(last.box.left, last.box.top, word.box.right, last.box.bottom)
            whole[-1] = Word(last.text + word.text, box, min(last.confidence, word.confidence))
        else:
            whole.append(word)
    return tuple(whole)
