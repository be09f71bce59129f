"""Blank pages and pages that their text layer accounts for, told apart on pages drawn at 300 dpi."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from aseagi_tasks.reading import ink

DPI = 300
WIDTH, HEIGHT = 2550, 3300
Grey = NDArray[np.uint8]

LINE = "The motion was heard on the third of May and taken under submission."


def paper(level: int = 255) -> Grey:
    return np.full((HEIGHT, WIDTH), level, np.uint8)


def write(page: Grey, text: str, x: int, y: int, points: float, level: int = 0) -> tuple[int, int, int, int]:
    """Write one line; returns its box."""
    image = Image.fromarray(page)
    font = ImageFont.load_default(points * DPI / 72)
    draw = ImageDraw.Draw(image)
    draw.text((x, y), text, fill=level, font=font)
    page[:] = np.asarray(image)
    left, top, right, bottom = draw.textbbox((x, y), text, font=font)
    return int(left), int(top), int(right), int(bottom)


def letter(page: Grey, top: int = 300, lines: int = 30) -> list[tuple[int, int, int, int]]:
    return [write(page, LINE, 300, top + 80 * n, 11) for n in range(lines)]


def noisy(page: Grey, sigma: float) -> Grey:
    noise = np.random.default_rng(5).normal(0, sigma, page.shape)
    return np.clip(page + noise, 0, 255).astype(np.uint8)


def blank(page: Grey) -> bool:
    return ink.is_blank(*ink.shrink(page, DPI))


def account(page: Grey, boxes: list[tuple[int, int, int, int]]) -> ink.Account:
    small, dpi = ink.shrink(page, DPI)
    return ink.account(small, np.array(boxes, np.float64).reshape(-1, 4) * dpi / DPI, dpi)


def with_dust(page: Grey) -> None:
    rng = np.random.default_rng(3)
    for _ in range(300):
        at = int(rng.integers(WIDTH)), int(rng.integers(HEIGHT))
        cv2.circle(page, at, int(rng.integers(1, 6)), 40, -1)


def with_pepper(page: Grey) -> None:
    page[np.random.default_rng(2).random(page.shape) < 0.01] = 0


def with_holes(page: Grey) -> None:
    for y in (500, 1650, 2800):
        cv2.circle(page, (130, y), 40, 15, -1)


def with_lid_shadow(page: Grey) -> None:
    reach = np.arange(WIDTH) / (0.16 * DPI)
    page[:] = (page * (1 - 0.75 * np.exp(-(reach**2)))).astype(np.uint8)


def with_black_border(page: Grey) -> None:
    page[:60], page[:, -90:] = 8, 12
    cv2.line(page, (0, 130), (WIDTH, 60), 5, 20)


def with_streak(page: Grey) -> None:
    for y in range(0, HEIGHT, 10):
        if (y // 10) % 7 not in (2, 3, 6):
            cv2.line(page, (1400, y), (1400, y + 9), 40, 2)


def with_shine_through(page: Grey) -> None:
    behind = paper()
    letter(behind)
    ghost = cv2.GaussianBlur(behind[:, ::-1], (0, 0), 3)
    page[:] = 255 - ((255 - ghost.astype(int)) * 45 // 255)


def with_scratches(page: Grey) -> None:
    cv2.line(page, (700, 900), (1150, 912), 30, 3)
    cv2.line(page, (1900, 2000), (1906, 2300), 30, 3)


def with_ragged_edge(page: Grey) -> None:
    for n in range(0, HEIGHT, 300):
        cv2.ellipse(page, (WIDTH, n), (25, 20), 0, 0, 360, 10, -1)


def with_fold(page: Grey) -> None:
    page[1640:1652] = 215


BLEMISHES: list[Callable[[Grey], None]] = [
    with_dust,
    with_pepper,
    with_holes,
    with_lid_shadow,
    with_black_border,
    with_streak,
    with_shine_through,
    with_scratches,
    with_ragged_edge,
    with_fold,
]


@pytest.mark.parametrize("level", [255, 230, 128, 20, 0])
def test_a_page_of_one_shade_is_blank(level: int) -> None:
    assert blank(paper(level))
    assert blank(noisy(paper(level), 8))


@pytest.mark.parametrize("blemish", BLEMISHES)
def test_a_blemished_page_is_blank(blemish: Callable[[Grey], None]) -> None:
    page = paper()
    blemish(page)
    assert blank(page)
    assert blank(noisy(page, 6))


@pytest.mark.parametrize("blemish", BLEMISHES)
@pytest.mark.parametrize("text", ["7", "1", "- 12 -"])
def test_a_page_number_is_found_among_blemishes(text: str, blemish: Callable[[Grey], None]) -> None:
    page = paper()
    blemish(page)
    write(page, text, 1250, 3100, 8)
    assert not blank(page)


@pytest.mark.parametrize(
    ("text", "points", "level"), [(LINE, 7, 0), ("Page 4", 9, 150), ("A", 140, 0), ("VOID", 60, 90)]
)
def test_short_text_is_not_blank(text: str, points: float, level: int) -> None:
    page = noisy(paper(240), 4)
    write(page, text, 300, 1500, points, level)
    assert not blank(page)


def test_white_text_on_black_is_not_blank() -> None:
    page = paper(10)
    write(page, "Page 4", 1200, 1500, 10, 250)
    assert not blank(page)


def test_a_text_layer_over_all_lines_is_complete() -> None:
    page = paper()
    boxes = letter(page)
    found = account(page, boxes)
    assert found.is_complete
    assert found.visible.all()
    assert found.lines == 0


@pytest.mark.parametrize("turns", [0, 1])
def test_a_filing_stamp_does_not_account_for_the_scan_below(turns: int) -> None:
    page = paper()
    letter(page)
    page = np.ascontiguousarray(np.rot90(page, turns))[:HEIGHT, :WIDTH]
    page = np.pad(page, ((0, HEIGHT - page.shape[0]), (0, WIDTH - page.shape[1])), constant_values=255)
    stamp = write(page, "Case 1:20-cv-00123-ABC   Document 12   Filed 05/06/20   Page 3 of 9", 400, 60, 10)
    found = account(page, [stamp])
    assert not found.is_complete
    assert found.lines > 10 * found.covered


@pytest.mark.parametrize("text", ["EXHIBIT A", "Dated: May 3, 2020", "So ordered."])
def test_a_filing_stamp_does_not_account_for_one_scanned_line(text: str) -> None:
    page = paper()
    write(page, text, 900, 1500, 14)
    stamp = write(page, "Case 1:20-cv-00123-ABC   Document 12   Filed 05/06/20   Page 3 of 9", 400, 60, 10)
    assert not account(page, [stamp]).is_complete


def test_a_filing_stamp_does_not_account_for_handwriting() -> None:
    page = paper()
    stamp = write(page, "Case 1:20-cv-00123-ABC   Document 12   Filed 05/06/20   Page 3 of 9", 400, 60, 10)
    rng = np.random.default_rng(1)
    for y in range(600, 2400, 300):  # a scrawl across the page, each stroke running into the next line
        points = np.array([[300 + 40 * n, y + int(rng.integers(-200, 200))] for n in range(45)], np.int32)
        cv2.polylines(page, [points], False, 30, 8)
    assert not account(page, [stamp]).is_complete


def test_a_stamp_on_a_blank_page_is_complete() -> None:
    page = paper()
    with_dust(page)
    stamp = write(page, "Case 1:20-cv-00123-ABC   Document 12   Filed 05/06/20   Page 3 of 9", 400, 60, 10)
    assert account(page, [stamp]).is_complete


def test_rules_seal_and_signature_do_not_spoil_a_text_layer() -> None:
    page = paper()
    boxes = letter(page, top=600, lines=20)
    cv2.line(page, (270, 0), (270, HEIGHT), 0, 4)  # pleading paper
    cv2.line(page, (282, 0), (282, HEIGHT), 0, 4)
    for y in range(2300, 2700, 80):  # a table
        cv2.line(page, (300, y), (2300, y), 0, 3)
    for x in (300, 900, 2300):
        cv2.line(page, (x, 2300), (x, 2620), 0, 3)
    cv2.circle(page, (1275, 330), 170, 0, 6)  # a seal with lettering
    write(page, "CLERK OF THE COURT", 1160, 310, 5)
    curve = [[1500 + 12 * n, 2900 + int(60 * np.sin(n / 2.0) * np.cos(n / 7.0))] for n in range(50)]
    cv2.polylines(page, [np.array(curve, np.int32)], False, 20, 6)
    assert account(page, boxes).is_complete


def test_a_pasted_picture_of_text_spoils_a_text_layer() -> None:
    page = paper()
    boxes = letter(page, lines=8)
    letter(page, top=1500, lines=10)
    assert not account(page, boxes).is_complete


def test_words_that_cannot_be_seen_are_known() -> None:
    page = paper()
    boxes = letter(page, lines=12)
    page[2000:2100, 300:1200] = 0  # a redaction
    boxes += [(320, 2020, 1150, 2080), (300, 2500, 1500, 2550)]  # under it; white on white
    found = account(page, boxes)
    assert found.visible.tolist() == [True] * 12 + [False, False]
    assert found.is_complete


def test_a_text_layer_of_unseen_words_accounts_for_nothing() -> None:
    page = paper()
    found = account(page, [(300, 300 + 80 * n, 2000, 350 + 80 * n) for n in range(30)])
    assert not found.is_complete
    assert not found.visible.any()
    assert found.covered == 0


def test_no_words_account_for_nothing() -> None:
    assert not account(paper(), []).is_complete


def test_boxes_beyond_the_page_are_cut() -> None:
    page = paper()
    boxes = letter(page)
    assert account(page, [*boxes, (-900, -900, -10, -10), (10**12, 10**12, 10**13, 10**13)]).is_complete


def test_bare_pages_are_told_from_scanned_ones() -> None:
    page = paper()
    assert ink.is_bare(page, np.empty((0, 4)))
    stamp = write(page, "Document 12", 400, 60, 10)
    assert ink.is_bare(page, np.array([stamp], np.float64))
    assert not ink.is_bare(page, np.empty((0, 4)))
    assert not ink.is_bare(noisy(paper(), 2), np.empty((0, 4)))


def test_a_word_under_a_bar_is_barred_though_the_bar_is_shorter() -> None:
    page = np.full((200, 400), 255, np.uint8)
    page[50:70, 100:160] = 0
    words = np.array([[104.0, 52, 166, 68], [170, 52, 230, 68]])
    cv2.putText(page, "seen", (172, 66), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1)
    account = ink.account(page, words, 100)
    assert account.barred.tolist() == [True, False]
    assert account.visible.tolist() == [False, True]


@pytest.mark.parametrize(("cell", "letters"), [(170, 0), (0, 255), (90, 255)])
def test_words_on_shaded_cells_are_seen(cell: int, letters: int) -> None:
    page = np.full((200, 400), 255, np.uint8)
    page[40:90, 90:310] = cell
    places, left = [], 100
    for word in ("Total", "amount", "due"):
        (wide, tall), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)
        cv2.putText(page, word, (left, 70), cv2.FONT_HERSHEY_SIMPLEX, 0.5, letters, 1)
        places.append([left - 1.0, 70 - tall - 3, left + wide + 1, 74])
        left += wide + 10
    words = np.array(places)
    account = ink.account(page, words, 100)
    assert not account.barred.any() and account.visible.all()
