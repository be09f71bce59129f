"""`show --page N --facts`: a page as a picture with boxes around what was found on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks.doors.lookup import Found, look_up
from aseagi_tasks.doors.page_picture import COLOURS, draw, marks
from aseagi_tasks.errors import NotFound
from aseagi_tasks.tasks import process

pytestmark = pytest.mark.usefixtures("stack")
WAIT_S = 120


@pytest.fixture
def filing(tmp_path: Path) -> Path:
    """Two pages; on the second a name under a black bar."""
    canvas = Canvas(str(tmp_path / "filing.pdf"), invariant=True)
    for number, line in enumerate(["UNITED STATES DISTRICT COURT", "Case No. 3:24-cv-07319", "MOTION TO SEAL"]):
        canvas.drawString(72, 720 - 30 * number, line)
    canvas.showPage()
    canvas.drawString(72, 700, "The minor lives with her grandmother in the city of")
    canvas.drawString(72, 680, "Willowmere Heights")
    canvas.rect(70, 676, 110, 16, fill=1)
    canvas.save()
    return tmp_path / "filing.pdf"


def processed(path: Path) -> Found:
    return look_up(process.delay(str(path)).get(timeout=WAIT_S)["document_id"])


def shows(picture: Image.Image, colour: str, box: tuple[int, int, int, int]) -> bool:
    """Whether the box's lower edge is drawn in a colour."""
    left, _, right, bottom = box
    edge = np.asarray(picture)[bottom - 2 : bottom + 3, left + 5 : right - 5].astype(int)
    return bool((np.abs(edge - ImageColor.getrgb(colour)).sum(axis=2) == 0).any(axis=0).mean() > 0.9)


def test_boxes_are_where_the_words_are_and_hidden_text_is_told(filing: Path) -> None:
    found = processed(filing)
    assert found.analysis is not None
    (number,) = [mark for mark in marks(found.analysis, 1) if mark.label == "case number"]
    assert shows(draw(found, 1, facts=True), COLOURS[number.how], number.box)
    plain = draw(found, 1, facts=False)
    assert not shows(plain, COLOURS[number.how], number.box)
    assert (np.asarray(plain.crop(number.box)) < 100).any(), "the words are in the box"
    (hidden,) = [mark for mark in marks(found.analysis, 2) if mark.how == "caution"]
    assert hidden.label == "covered text"
    assert shows(draw(found, 2, facts=True), COLOURS["caution"], hidden.box)
    assert "grandmother" in found.text() and "Willowmere" not in found.text()
    assert "Willowmere" not in found.analysis.model_dump_json()


def test_a_picture_that_lies_on_its_side_is_shown_upright(filing: Path, tmp_path: Path) -> None:
    upright = draw(processed(filing), 1, facts=False)
    upright.rotate(90, expand=True).convert("L").save(tmp_path / "side.png", dpi=(300, 300))
    turned = draw(processed(tmp_path / "side.png"), 1, facts=False)
    assert turned.size == upright.size
    assert np.abs(np.asarray(turned).astype(int) - np.asarray(upright)).mean() < 1


def test_pages_that_are_not_there(filing: Path) -> None:
    with pytest.raises(NotFound, match=r"Page 3 was not found in filing\.pdf, which has 2"):
        draw(processed(filing), 3, facts=True)
    with pytest.raises(NotFound, match="no job on this document has completed"):
        draw(Found(None, []), 1, facts=True)
