"""Pictures as pages: as large as they were read, looking as they were read, without loss."""

from __future__ import annotations

import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pikepdf
import pytest
from pikepdf import Name
from PIL import Image, ImageCms, ImageDraw

from aseagi_tasks.documents import MediaType, Reading
from aseagi_tasks.reading import images
from aseagi_tasks.reading.searchable import searchable_pdf
from tests.unit.test_searchable import DPI, WORDS, found_words, page, sound

TURNED = {90: Image.Transpose.ROTATE_270, 180: Image.Transpose.ROTATE_180, 270: Image.Transpose.ROTATE_90}


def shown(path: Path) -> Image.Image:
    """The first page as it is seen, a pixel for each of the picture's."""
    out = subprocess.run(["pdftoppm", "-r", str(DPI), "-l", "1", str(path)], capture_output=True, check=True).stdout
    return Image.open(BytesIO(out)).convert("RGB")


def differ(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures' pixels, of 255."""
    assert one.size == other.size
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


@pytest.mark.parametrize(
    ("mode", "suffix", "media_type"),
    [
        ("RGB", "jpg", "image/jpeg"),
        ("CMYK", "jpg", "image/jpeg"),
        ("L", "jpg", "image/jpeg"),
        ("RGBA", "png", "image/png"),
        ("LA", "png", "image/png"),
        ("P", "png", "image/png"),
        ("I;16", "png", "image/png"),
        ("1", "tif", "image/tiff"),
        ("RGB", "tif", "image/tiff"),
    ],
)
def test_image_becomes_a_page_of_its_size(tmp_path: Path, mode: str, suffix: str, media_type: MediaType) -> None:
    image = Image.new("L", (500, 700), 255)
    ImageDraw.Draw(image).rectangle((50, 100, 200, 300), fill=0)
    image = image.convert("I").convert("I;16") if mode == "I;16" else image.convert(mode)
    path = tmp_path / f"source.{suffix}"
    image.save(path, **({"compression": "group4"} if mode == "1" else {}))
    assert searchable_pdf(path, media_type, Reading(engine="t", pages=(page(500, 700, WORDS),)), tmp_path / "b.pdf")
    sound(tmp_path / "b.pdf")
    with pikepdf.open(tmp_path / "b.pdf") as pdf:
        assert [float(value) for value in pdf.pages[0].mediabox] == pytest.approx([0, 0, 360, 504], abs=0.5)
    assert [text for text, _ in found_words(tmp_path / "b.pdf", 1)] == ["Hello", "Wörld"]
    if suffix == "jpg":  # the JPEG's own bytes, not encoded again
        scan = path.read_bytes()
        assert scan[-2000:-10] in (tmp_path / "b.pdf").read_bytes()


def picture() -> Image.Image:
    """No two of its turns and mirrorings look the same."""
    made = Image.new("RGB", (500, 700), "white")
    draw = ImageDraw.Draw(made)
    draw.rectangle((50, 100, 200, 300), fill="red")
    draw.rectangle((400, 600, 480, 680), fill="blue")
    return made


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
@pytest.mark.parametrize(
    ("orientation", "added"), [*((o, 0) for o in range(1, 9)), (1, 90), (6, 90), (3, 180), (5, 270)]
)
def test_photograph_is_shown_as_it_was_held(tmp_path: Path, orientation: int, added: int, suffix: str) -> None:
    """Whatever the camera says of how it was held, and however the page was turned to be read."""
    media_type: MediaType = "image/jpeg" if suffix == "jpg" else "image/tiff"
    path, exif = tmp_path / f"source.{suffix}", Image.Exif()
    exif[274] = orientation
    picture().save(path, exif=exif, dpi=(DPI, DPI))
    (read,) = images.pictures(path, "a", media_type, dpi=DPI, max_pages=1, max_page_pixels=10**7, small_px=1000)
    upright = read.small.transpose(TURNED[added]) if added else read.small
    reading = Reading(engine="t", pages=(page(*upright.size, WORDS, added),))
    assert searchable_pdf(path, media_type, reading, tmp_path / "b.pdf")
    assert differ(shown(tmp_path / "b.pdf"), upright) < 1
    assert found_words(tmp_path / "b.pdf", DPI / 72)[0][1] == pytest.approx(WORDS[0].box, abs=1)


def lab(image: Image.Image) -> Image.Image:
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(image, *profiles, outputMode="LAB")
    assert converted is not None
    return converted


@pytest.mark.parametrize(
    ("mode", "options"),
    [
        ("12 bit", {}),
        ("32 bit", {}),
        ("float", {}),
        ("LAB", {}),
        ("YCbCr", {}),
        ("CMYK", {}),
        ("P", {}),
        ("RGBA", {}),
        ("RGB", {"compression": "jpeg"}),
        ("RGB", {"compression": "tiff_lzw"}),
        ("1", {"compression": "group3"}),
        ("1", {"tiffinfo": {262: 0}}),
    ],
)
def test_picture_looks_as_it_was_read(tmp_path: Path, mode: str, options: dict[str, Any]) -> None:
    image, grey = picture(), np.asarray(picture().convert("L"))
    if mode == "RGBA":
        image.putalpha(128)
    made = {
        "12 bit": lambda: Image.fromarray(grey.astype(np.uint16) * 16),
        "32 bit": lambda: Image.fromarray(grey.astype(np.int32) * 1000),
        "float": lambda: Image.fromarray(grey.astype(np.float32) / 255),
        "LAB": lambda: lab(image),
    }
    path = tmp_path / "source.tif"
    made.get(mode, lambda: image.convert(mode, dither=Image.Dither.NONE))().save(path, dpi=(DPI, DPI), **options)
    (read,) = images.pictures(path, "a", "image/tiff", dpi=DPI, max_pages=1, max_page_pixels=10**7, small_px=1000)
    reading = Reading(engine="t", pages=(page(500, 700, WORDS),))
    assert searchable_pdf(path, "image/tiff", reading, tmp_path / "b.pdf")
    sound(tmp_path / "b.pdf")
    assert differ(shown(tmp_path / "b.pdf"), read.small) < 6  # viewers' conversion of inks differs from Pillow's by 5


def test_fax_with_half_the_resolution_down_the_page_stands_upright(tmp_path: Path) -> None:
    fax = picture().resize((1728, 1078)).convert("1")
    fax.save(tmp_path / "source.tif", compression="group4", dpi=(204, 98))
    reading = Reading(engine="t", pages=(page(850, 1100, WORDS),))
    assert searchable_pdf(tmp_path / "source.tif", "image/tiff", reading, tmp_path / "b.pdf")
    with pikepdf.open(tmp_path / "b.pdf") as pdf:
        assert [float(value) for value in pdf.pages[0].mediabox] == pytest.approx([0, 0, 612, 792])
        assert pdf.pages[0].obj.Resources.XObject.Im.Filter == Name.CCITTFaxDecode


def test_only_the_first_of_a_telephones_pictures_is_a_page(tmp_path: Path) -> None:
    small = picture().resize((100, 140))
    picture().save(tmp_path / "source.jpg", "MPO", save_all=True, append_images=[small])
    reading = Reading(engine="t", pages=(page(500, 700, WORDS),))
    assert searchable_pdf(tmp_path / "source.jpg", "image/jpeg", reading, tmp_path / "b.pdf")
    assert differ(shown(tmp_path / "b.pdf"), picture()) < 1


def test_frames_become_pages(tmp_path: Path) -> None:
    frames = [Image.new("1", (500, 700), 1), Image.new("L", (700, 500), 255), Image.new("RGB", (500, 700), "white")]
    frames[0].save(tmp_path / "source.tif", save_all=True, append_images=frames[1:])
    pages = (page(500, 700, WORDS), page(700, 500, WORDS, number=2), page(500, 700, WORDS, number=3))
    assert searchable_pdf(tmp_path / "source.tif", "image/tiff", Reading(engine="t", pages=pages), tmp_path / "b.pdf")
    with pikepdf.open(tmp_path / "b.pdf") as pdf:
        assert [round(float(one.mediabox[2])) for one in pdf.pages] == [360, 504, 360]
