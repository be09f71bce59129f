"""What is done to a page before it is read: dirt goes, letters stay."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from aseagi_tasks.documents import Line, Page
from aseagi_tasks.reading import cleaning, upright
from aseagi_tasks.reading.lines import find_lines
from aseagi_tasks.reading.tesseract import Tesseract
from aseagi_tasks.samples.scanning import PHOTO_SIZE
from tests.known_pages import DPI, Boxes, Grey, KnownPage, born_digital, degraded, matched, tightened


@pytest.fixture(scope="module")
def known() -> KnownPage:
    return next(page for page in born_digital(corpus=False) if page.name == "02-order p1")


def written(*lines: str) -> Grey:
    """A page at 300 dpi, its lines 100 pixels apart."""
    page = np.full((3300, 2550), 255, np.uint8)
    for at, line in enumerate(lines, 3):
        cv2.putText(page, line, (300, 100 * at), cv2.FONT_HERSHEY_COMPLEX, 1.6, 0, 3, cv2.LINE_AA)
    return page


def speckled(page: Grey, count: int = 400) -> Grey:
    rng = np.random.default_rng(5)
    dirty = page.copy()
    for y, x in zip(rng.integers(5, 3290, count), rng.integers(5, 2540, count), strict=True):
        dirty[y : y + 3, x : x + 3] = 0
    return dirty


@pytest.mark.parametrize("how", ["clean", "noise", "blur", "skew", "fax"])
def test_a_scan_is_no_photograph(known: KnownPage, how: str) -> None:
    image, _ = degraded(known.image, how)
    assert cleaning.flatten(image)[0] is image


def test_a_photographed_sheet_is_cut_out_and_made_square(known: KnownPage) -> None:
    picture, _ = degraded(known.image, "photo")
    assert picture.shape == PHOTO_SIZE[::-1]
    flat, back = cleaning.flatten(picture)
    height, width = flat.shape
    square = np.array([[[0, 0], [width, 0], [width, height], [0, height]]], np.float64)
    share = np.array([[0.105, 0.072], [0.915, 0.052], [0.955, 0.938], [0.052, 0.962]])  # as `photograph` lays it
    found = cv2.perspectiveTransform(square, back)[0] / PHOTO_SIZE
    assert np.abs(found - share).max() < 0.006
    assert height / width == pytest.approx(11 / 8.5, rel=0.08)


def test_boxes_of_a_photograph_are_where_its_ink_is(known: KnownPage) -> None:
    picture, dpi = degraded(known.image, "photo")
    seen: list[tuple[Line, ...]] = []

    def lines(level: Grey, at_dpi: float) -> tuple[Line, ...]:
        found = [Line(text="x", box=line.box, confidence=1, source="trocr") for line in find_lines(level, at_dpi)]
        seen.append(tuple(found))
        return seen[-1]

    reader = upright.Reader(
        "trocr", lines, lambda _small, rotation: rotation, frozenset({"flatten", "straighten", "even"})
    )
    page = upright._read(Page(number=1, width_px=2448, height_px=3264, dpi=dpi), picture, reader)
    inside = np.zeros(picture.shape, bool)
    for line in page.lines:
        inside[line.box.top : line.box.bottom, line.box.left : line.box.right] = True
    sheet = (slice(300, 2900), slice(350, 2150))  # without the table around it
    dark = (picture[sheet] < 0.5 * cv2.medianBlur(picture, 51)[sheet]).astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(dark)
    letters = ((stats[:, 2] < 100) & (stats[:, 3] < 100))[labels]  # and no rules
    assert (letters & inside[sheet]).sum() / letters.sum() > 0.97
    assert inside.mean() < 0.35


def test_specks_go_and_full_stops_stay() -> None:
    page = written("Alex J .  Doe, M . D . ;  Jr .  i j : %", "v . 12 . 50 ... \" ' `")
    dirty = speckled(page)
    clean = cleaning.despeckle(dirty, DPI)
    ink = page < 128
    assert (clean[ink] < 128).all(), "part of a letter is gone"
    near = cv2.dilate(ink.astype(np.uint8), np.ones((90, 90), np.uint8)) > 0
    assert (dirty[~near] == 0).sum() > 2000
    assert (clean[~near] == 0).sum() == 0, "a speck is left"


def test_a_clean_page_is_left_alone() -> None:
    page = written("A few dots . . . . and no dirt.")
    assert cleaning.despeckle(page, DPI) is page
    assert cleaning.without_underlines(page, DPI) is page


def test_streaks_go_where_they_are_alone_and_letters_stay() -> None:
    page = written(*[f"Line {number} of a page with a streak through it" for number in range(25)])
    streaked = page.copy()
    for top in range(0, 3300, 60):
        streaked[top : top + 40, 640:643] = 0
    clean = cleaning.despeckle(streaked, DPI)
    ink = page < 128
    assert (clean[ink] > 128).mean() < 0.002, "a stroke that stands in the streak may go with it, no other"
    column = clean[:, 640:643]
    assert (column[:, 1] == 0).sum() < 0.5 * (streaked[:, 641] == 0).sum()
    assert (clean[2900:, 640:643] == 255).all()


def test_letters_below_each_other_are_no_streak() -> None:
    page = written(*["l l l l I I I I 1 1 1 1 l i l i" for _ in range(28)])
    assert cleaning.despeckle(page, DPI) is page


def test_underlines_go_and_what_stands_on_them_stays() -> None:
    page = written("Jones v. Smythe, 12 Cal. 4th 34 -- a dash")
    underlined = page.copy()
    underlined[322:325, 300:700] = 0
    clean = cleaning.without_underlines(underlined, DPI)
    above = page[:318]
    assert np.array_equal(clean[:318], above)
    assert (clean[322:325, 400:420] == 255).all()


def scaled(boxes: Boxes, by: float) -> Boxes:
    return (boxes * by).round().astype(np.int64)


@pytest.mark.parametrize("how", ["noise", "blur", "fax"])
def test_lines_are_found_on_unclean_pages(known: KnownPage, how: str) -> None:
    image, dpi = degraded(known.image, how)
    found = find_lines(cleaning.despeckle(image, dpi), dpi)
    small = cv2.resize(known.image, image.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8)
    ours = tightened(np.array([line.box for line in found], np.int64), small)
    true = scaled(known.boxes, dpi / DPI)
    assert matched(true, ours) / len(true) >= 0.95
    assert matched(ours, true) / len(ours) >= 0.9


def test_a_dark_edge_is_no_text(known: KnownPage) -> None:
    edged = known.image.copy()
    edged[:, :60] = 20
    edged[:40] = np.linspace(20, 255, 40)[:, None].astype(np.uint8)
    edged[:, 60:90] = np.linspace(20, 255, 30).astype(np.uint8)
    assert len(find_lines(edged, DPI)) == len(find_lines(known.image, DPI))


def test_steps_can_be_switched_off(known: KnownPage) -> None:
    skewed, dpi = degraded(known.image, "skew")
    level: list[Grey] = []

    def lines(image: Grey, _dpi: float) -> tuple[Line, ...]:
        level.append(image)
        return ()

    page = Page(number=1, width_px=skewed.shape[1], height_px=skewed.shape[0], dpi=dpi)
    for steps in (frozenset(), frozenset({"straighten"})):
        reader = upright.Reader("trocr", lines, lambda _small, rotation: rotation, steps)  # type: ignore[arg-type]
        upright._read(page, skewed, reader)
    assert np.array_equal(level[0], skewed)
    assert not np.array_equal(level[1], skewed)
    assert Tesseract("eng", frozenset({"rules"})).cleaning == {"rules"}
