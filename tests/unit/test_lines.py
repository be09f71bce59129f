"""Lines of a page: where they are, and in which order they are read."""

from __future__ import annotations

import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from aseagi_tasks.reading.cleaning import straighten
from aseagi_tasks.reading.lines import find_lines
from tests.known_pages import DPI, Boxes, Grey, born_digital, matched, tightened

LETTER = (3300, 2550)


class Sheet:
    """A page at 300 dpi on which labelled lines are written; ``order`` tells in which order they are found."""

    def __init__(self) -> None:
        self.image = np.full(LETTER, 255, np.uint8)
        self.labels: dict[str, tuple[int, int]] = {}

    def write(self, text: str, left: int, base: int, *, scale: float = 1.6, label: str | None = None) -> None:
        cv2.putText(self.image, text, (left, base), cv2.FONT_HERSHEY_COMPLEX, scale, 0, 3, cv2.LINE_AA)
        self.labels[label or text] = (left, base)

    def order(self) -> list[str]:
        found = []
        for line in find_lines(self.image, DPI):
            box = line.box
            inside = [
                label
                for label, (left, base) in self.labels.items()
                if box.left - 5 <= left <= box.right and box.top <= base - 10 <= box.bottom
            ]
            found += inside or ["?"]
        return found


def boxes(image: Grey) -> Boxes:
    return np.array([line.box for line in find_lines(image, DPI)], np.int64).reshape(-1, 4)


def test_lines_of_the_samples_are_found(capsys: pytest.CaptureFixture[str]) -> None:
    there = hit = found = right = 0
    for page in born_digital(corpus=False):
        ours = tightened(boxes(page.image), page.image)
        there, hit = there + len(page.boxes), hit + matched(page.boxes, ours)
        found, right = found + len(ours), right + matched(ours, page.boxes)
    with capsys.disabled():
        print(
            f"\n  lines of the samples: {hit / there:.3f} of {there} found, {right / found:.3f} of {found} right",
            end="",
        )
    assert hit / there >= 0.98 and right / found >= 0.98


@pytest.mark.parametrize("skew", [-3.0, -0.8, 0.8, 3.0])
def test_skewed_pages_are_made_level_first(skew: float) -> None:
    page = next(born_digital(corpus=False))
    turned, _ = straighten(page.image, skew)
    level, _ = straighten(turned, -skew)
    ours = tightened(boxes(level), page.image)
    assert matched(page.boxes, ours) / len(page.boxes) >= 0.97


def test_columns_are_read_one_after_the_other_below_their_headline() -> None:
    sheet = Sheet()
    sheet.write("THE HEADLINE GOES OVER BOTH OF THE COLUMNS OF IT", 200, 250, scale=2.2, label="head")
    for row in range(12):
        sheet.write("running text of a column", 200, 500 + 90 * row, label=f"left{row}")
        sheet.write("and of the other column", 1400, 500 + 90 * row, label=f"right{row}")
    assert sheet.order() == ["head", *(f"left{row}" for row in range(12)), *(f"right{row}" for row in range(12))]


def test_a_table_is_read_row_by_row() -> None:
    sheet = Sheet()
    for row in range(8):
        for column, text in enumerate(("Rent", "$1,250", "paid")):
            sheet.write(text, 300 + 700 * column, 600 + 100 * row, label=f"{row}{column}")
    cv2.rectangle(sheet.image, (250, 500), (2300, 1350), 0, 4)
    for row in range(8):
        cv2.line(sheet.image, (250, 630 + 100 * row), (2300, 630 + 100 * row), 0, 4)
    assert sheet.order() == [f"{row}{column}" for row in range(8) for column in range(3)]


def test_line_numbers_of_a_pleading_stand_apart_from_its_text() -> None:
    sheet = Sheet()
    cv2.line(sheet.image, (420, 100), (420, 3200), 0, 3)
    for row in range(20):
        sheet.write(f"{row + 1}", 300, 400 + 130 * row, label=f"n{row}")
        sheet.write("respectfully moves this Court for an order", 500, 400 + 130 * row, label=f"t{row}")
    order = sheet.order()
    assert [label for label in order if label[0] == "t"] == [f"t{row}" for row in range(20)]
    assert order in (
        [f"n{row}" for row in range(20)] + [f"t{row}" for row in range(20)],
        [f"t{row}" for row in range(20)] + [f"n{row}" for row in range(20)],
    )


def test_lines_that_touch_are_parted() -> None:
    sheet = Sheet()
    for row in range(6):
        sheet.write("lines of the usual height stand here", 300, 400 + 110 * row, label=f"{row}")
    sheet.write("two lines so close that they touch", 300, 1400, label="upper")
    sheet.write("each other jgpq at more than one place", 300, 1452, label="lower")
    cv2.line(sheet.image, (600, 1350), (604, 1440), 0, 5)
    assert sheet.order()[-2:] == ["upper", "lower"]


def test_paragraphs_are_counted() -> None:
    sheet = Sheet()
    for row in range(3):
        sheet.write("the first paragraph is here", 300, 400 + 90 * row, label=f"a{row}")
        sheet.write("the second paragraph is here", 300, 900 + 90 * row, label=f"b{row}")
    assert [line.block for line in find_lines(sheet.image, DPI)] == [0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("what", ["blank", "black", "rules", "noise", "picture", "tiny"])
def test_what_is_no_text_has_no_lines(what: str) -> None:
    rng = np.random.default_rng(3)
    image = np.full(LETTER, 255, np.uint8)
    if what == "black":
        image[:] = 0
    elif what == "rules":
        for at in range(300, 3000, 150):
            cv2.line(image, (200, at), (2300, at), 0, 4)
            cv2.line(image, (at * 2 // 3, 300), (at * 2 // 3, 3000), 0, 4)
    elif what == "noise":
        image[rng.random(LETTER) < 0.002] = 0
    elif what == "picture":
        cv2.circle(image, (1200, 1600), 700, 90, -1)
    elif what == "tiny":
        image = np.full((3, 3), 255, np.uint8)
    assert find_lines(image, DPI) == []


def test_boxes_stay_on_the_page() -> None:
    sheet = Sheet()
    sheet.write("at the very edge of the page, and over it, and on and on", -20, 30)
    sheet.write("at the lower edge of the page", 1500, LETTER[0] - 2)
    for line in find_lines(sheet.image, DPI):
        left, top, right, bottom = line.box
        assert 0 <= left < right <= LETTER[1] and 0 <= top < bottom <= LETTER[0]


@pytest.mark.corpus
def test_two_real_columns(corpus: Path, tmp_path: Path) -> None:
    """Every line of the left column comes before every line of the right one."""
    command = ["pdftoppm", "-gray", "-r", str(DPI), "-singlefile", corpus / "court" / "linn.pdf", tmp_path / "page"]
    subprocess.run(command, check=True)
    image = cv2.imread(str(tmp_path / "page.pgm"), cv2.IMREAD_GRAYSCALE)
    assert image is not None
    height, width = image.shape
    lines = [line.box for line in find_lines(image.astype(np.uint8), DPI)]
    columns = [box for box in lines if 0.385 * height < box.top < 0.68 * height]
    sides = ["left" if box.left < 0.4 * width else "right" for box in columns]
    assert sides == ["left"] * 23 + ["right"] * 22
    assert all(box.right - box.left < 0.45 * width for box in columns)
