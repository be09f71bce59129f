"""What people send to the bot in the tests: filings of one page, photographs, files that are none."""

from __future__ import annotations

import io
import uuid
from pathlib import Path

import pikepdf
from PIL import Image, ImageDraw, ImageFont
from reportlab.pdfgen.canvas import Canvas


def filing(case_number: str | None = None, title: str = "MOTION TO DISMISS", pages: int = 1) -> bytes:
    """A born-digital filing with a case number of its own."""
    out = io.BytesIO()
    canvas = Canvas(out, invariant=True)
    number = case_number or f"3:24-cv-{uuid.uuid4().int % 100000:05d}"
    words = ["UNITED STATES DISTRICT COURT", "NORTHERN DISTRICT OF CALIFORNIA", "", "ACORN LLC, Plaintiff,", "v."]
    words += ["BIRCH INC., Defendant.", f"Case No. {number}", "", title, "", "Dated: March 4, 2024", uuid.uuid4().hex]
    for _page in range(pages):
        for at, line in enumerate(words):
            canvas.drawString(72, 720 - 20 * at, line)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def photograph(*lines: str, form: str = "JPEG") -> bytes:
    """A sheet with a few large lines, as a telephone's picture of it."""
    picture = Image.new("RGB", (960, 1280), "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(size=40)
    for at, line in enumerate(lines):
        pen.text((80, 120 + 90 * at), line, fill="black", font=font)
    out = io.BytesIO()
    if form == "HEIF":
        import pillow_heif

        pillow_heif.register_heif_opener()
    picture.save(out, form, quality=90)
    return out.getvalue()


def locked() -> bytes:
    """A filing with a password."""
    out = io.BytesIO()
    with pikepdf.open(io.BytesIO(filing())) as pdf:
        pdf.save(out, encryption=pikepdf.Encryption(owner="o", user="u"))
    return out.getvalue()


def blank() -> bytes:
    """One empty sheet."""
    out = io.BytesIO()
    with pikepdf.new() as pdf:
        pdf.add_blank_page(page_size=(612, 792))
        pdf.docinfo["/Title"] = uuid.uuid4().hex
        pdf.save(out)
    return out.getvalue()


def scan(folder: Path) -> bytes:
    """A scanned letter of one page: the first page of a sample's."""
    from aseagi_tasks.samples import make_samples

    out = io.BytesIO()
    with pikepdf.open(make_samples(folder)[2]) as pdf:
        while len(pdf.pages) > 1:
            del pdf.pages[1]
        pdf.docinfo["/Title"] = uuid.uuid4().hex
        pdf.save(out)
    return out.getvalue()
