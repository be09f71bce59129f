"""Pictures of pages: colours, orientation, resolution, and what cannot be used."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from aseagi_tasks import keys
from aseagi_tasks.documents import MediaType, Reading
from aseagi_tasks.errors import NoPages, TooLarge, Unreadable
from aseagi_tasks.reading import images, ink
from aseagi_tasks.stages.fetch import identify
from aseagi_tasks.stages.rasterize import rasterize

BLACK, WHITE = (0, 0, 0), (255, 255, 255)


class Bench:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "given"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()

    def save(self, image: Image.Image, kind: str, **options: Any) -> Bench:
        image.save(self.path, kind, **options)
        return self

    def run(self, **given: Any) -> Reading:
        limits: dict[str, Any] = {"dpi": 300, "max_pages": 100, "max_page_pixels": 40_000_000, "timeout_s": 60}
        return rasterize(self.path, "scan.png", identify(self.path, "scan.png"), self.scratch, **(limits | given))

    def image(self, number: int = 1) -> ink.Grey:
        return ink.read_pgm(keys.page_image(self.scratch, number))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def page(mode: str = "L", size: tuple[int, int] = (850, 1100), ink: Any = 0, paper: Any = 255) -> Image.Image:
    """A page with one word near its top left corner."""
    image = Image.new(mode, size, paper)
    font = ImageFont.load_default(size[1] / 20)
    ImageDraw.Draw(image).text((size[0] // 10, size[1] // 10), "ORDER", ink, font)
    return image


def corner(grey: ink.Grey) -> str:
    """In which corner the word is."""
    rows, columns = np.nonzero(grey < 128)
    across = "left" if columns.mean() < grey.shape[1] / 2 else "right"
    return f"{'top' if rows.mean() < grey.shape[0] / 2 else 'bottom'} {across}"


def check_black_on_white(grey: ink.Grey) -> None:
    assert grey.dtype == np.uint8
    assert np.median(grey) > 245
    assert np.percentile(grey[grey < 128], 20) < 40


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (page("1", ink=0, paper=1), "PNG"),
        (page("L"), "PNG"),
        (page("RGB", ink=BLACK, paper=WHITE), "PNG"),
        (page("RGB", ink=BLACK, paper=WHITE).quantize(4), "PNG"),
        (page("RGBA", ink=(0, 0, 0, 255), paper=(0, 0, 0, 0)), "PNG"),
        (page("LA", ink=(0, 255), paper=(0, 0)), "PNG"),
        (page("L"), "JPEG"),
        (page("RGB", ink=BLACK, paper=WHITE), "JPEG"),
        (page("CMYK", ink=(0, 0, 0, 255), paper=(0, 0, 0, 0)), "JPEG"),
        (page("CMYK", ink=(0, 0, 0, 255), paper=(0, 0, 0, 0)), "TIFF"),
        (page("1", ink=0, paper=1), "TIFF"),
        (page("YCbCr", ink=(0, 128, 128), paper=(255, 128, 128)), "TIFF"),
        (page("LAB", ink=(0, 128, 128), paper=(255, 128, 128)), "TIFF"),
    ],
    ids=lambda given: getattr(given, "mode", given),
)
def test_all_colours_become_grey_on_white(image: Image.Image, kind: str, bench: Bench) -> None:
    reading = bench.save(image, kind, dpi=(100, 100)).run()
    found = reading.pages[0]
    assert reading.engine.startswith("pillow ")
    assert (found.source, found.dpi, found.width_px, found.height_px) == (None, 300, 2550, 3300)
    assert bench.image().shape == (3300, 2550)
    check_black_on_white(bench.image())
    assert corner(bench.image()) == "top left"


@pytest.mark.parametrize("bits", [10, 12, 16])
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_deep_grey_is_scaled_not_cut_off(kind: str, bits: int, bench: Bench) -> None:
    levels = (np.asarray(page("L"), np.uint16) << (bits - 8)) | 1
    bench.save(Image.fromarray(levels), kind).run()
    check_black_on_white(bench.image())
    assert 1000 < (bench.image() < 128).sum() < 500_000


def test_floats_are_scaled(bench: Bench) -> None:
    bench.save(Image.fromarray(np.asarray(page("L"), np.float32) / 255), "TIFF").run()
    assert corner(bench.image()) == "top left"


def test_white_is_zero_tiffs_are_not_negatives(bench: Bench) -> None:
    out = io.BytesIO()
    page("1", ink=1, paper=0).save(out, "TIFF", compression="group4")
    black_is_zero, white_is_zero = (struct.pack("<HHII", 262, 3, 1, value) for value in (1, 0))
    assert black_is_zero in out.getvalue()
    bench.path.write_bytes(out.getvalue().replace(black_is_zero, white_is_zero))
    bench.run()
    check_black_on_white(bench.image())


def test_cmyk_without_adobe_s_marker_is_not_inverted(bench: Bench) -> None:
    out = io.BytesIO()
    page("CMYK", ink=(255, 255, 255, 0), paper=(255, 255, 255, 255)).save(out, "JPEG")
    data = out.getvalue()
    at = data.index(b"\xff\xee")  # the marker; Pillow writes inverted levels under it
    bench.path.write_bytes(data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4]) :])
    bench.run()
    check_black_on_white(bench.image())


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_pages_are_upright(kind: str, orientation: int, bench: Bench) -> None:
    stored = page("RGB", size=(1275, 1650), ink=BLACK, paper=WHITE)
    for undo in {
        1: [],
        2: [Image.Transpose.FLIP_LEFT_RIGHT],
        3: [Image.Transpose.ROTATE_180],
        4: [Image.Transpose.FLIP_TOP_BOTTOM],
        5: [Image.Transpose.TRANSPOSE],
        6: [Image.Transpose.ROTATE_90],
        7: [Image.Transpose.TRANSVERSE],
        8: [Image.Transpose.ROTATE_270],
    }[orientation]:
        stored = stored.transpose(undo)
    exif = Image.Exif()
    exif[274] = orientation
    found = bench.save(stored, kind, exif=exif, dpi=(150, 150)).run().pages[0]
    assert (found.width_px, found.height_px, found.dpi, found.rotation) == (2550, 3300, 300, 0)
    assert bench.image().shape == (3300, 2550)
    assert corner(bench.image()) == "top left"
    with Image.open(bench.scratch / "thumbnail.jpg") as small:
        assert (small.format, small.mode, small.size) == ("JPEG", "RGB", (309, 400))
        assert corner(np.asarray(small.convert("L"))) == "top left"


def test_a_tiff_s_pages_each_have_their_own_way(bench: Bench) -> None:
    frames = [page("1", (1700, 2200), 0, 1), page("RGB", (850, 1100), BLACK, WHITE), page("L", (2200, 1700)), page()]
    for frame, dpi in zip(frames, (200, 100, 200, 100), strict=True):
        frame.encoderinfo = {"dpi": (dpi, dpi), "compression": "group4" if frame.mode == "1" else "tiff_lzw"}
    bench.save(frames[0], "TIFF", **frames[0].encoderinfo, save_all=True, append_images=frames[1:])
    reading = bench.run()
    sizes = [(found.width_px, found.height_px) for found in reading.pages]
    assert sizes == [(2550, 3300), (2550, 3300), (3300, 2550), (2550, 3300)]
    for found in reading.pages:
        assert found.dpi == 300
        assert bench.image(found.number).shape == (found.height_px, found.width_px)
        assert corner(bench.image(found.number)) == "top left"


def test_reduced_copies_in_a_tiff_are_no_pages(bench: Bench) -> None:
    small = page(size=(85, 110))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    bench.save(page(), "TIFF", save_all=True, append_images=[small])
    assert len(bench.run().pages) == 1


def test_a_fax_is_stretched_to_its_shape(bench: Bench) -> None:
    squat = page("1", (1728, 2200), 0, 1).resize((1728, 1100))
    found = bench.save(squat, "TIFF", compression="group3", dpi=(204, 98)).run().pages[0]
    assert found.dpi == 294  # threefold down the page
    assert (found.width_px / found.dpi, found.height_px / found.dpi) == pytest.approx((1728 / 204, 1100 / 98), abs=0.01)


@pytest.mark.parametrize(
    ("size", "stated", "dpi"),
    [
        ((1700, 2200), (200, 200), 200),
        ((2550, 3300), None, 300),
        ((3024, 4032), (72, 72), 4032 / 11),
        ((4032, 3024), (1, 1), 4032 / 11),
        ((2480, 3508), (2480, 3508), 3508 / 11),
        ((6000, 8000), (150, 150), 8000 / 11),  # 53 inches
        ((1080, 2400), None, 1080 / 8.5),
        ((3000, 300), None, 3000 / 8.5),
        ((1728, 1100), (204, 98), (204, 98)),
        ((1728, 1100), (204, 20), 1728 / 11),
        ((850, 1100), (0, 0), 100),
    ],
)
def test_resolution_is_believed_if_plausible(size: Any, stated: Any, dpi: Any) -> None:
    assert images.resolution(*size, stated) == pytest.approx(dpi if isinstance(dpi, tuple) else (dpi, dpi))


@pytest.mark.parametrize(
    ("size", "dpi", "expected"),
    [
        ((2550, 3300), 300, (2550, 3300, 300)),
        ((2448, 3168), 288, (2448, 3168, 288)),  # near enough
        ((5100, 6600), 600, (2550, 3300, 300)),
        ((637, 825), None, (1911, 2475, 225)),  # not more than threefold
    ],
)
def test_pictures_come_near_the_wanted_resolution(size: Any, dpi: Any, expected: Any, bench: Bench) -> None:
    found = bench.save(page(size=size), "PNG", **({"dpi": (dpi, dpi)} if dpi else {})).run().pages[0]
    assert (found.width_px, found.height_px, round(found.dpi)) == expected


def test_huge_pictures_come_at_a_lower_resolution(bench: Bench) -> None:
    found = bench.save(page(size=(5100, 6600)), "JPEG", dpi=(300, 300)).run(max_page_pixels=5_000_000).pages[0]
    assert 4_900_000 < found.width_px * found.height_px <= 5_000_000
    assert found.width_px / found.dpi == pytest.approx(17, rel=0.001)
    assert corner(bench.image()) == "top left"


def test_pictures_that_would_fill_the_memory_are_refused_unseen(bench: Bench) -> None:
    bench.save(page("RGB", size=(1275, 1650), ink=BLACK, paper=WHITE), "PNG")
    with pytest.raises(TooLarge, match=r"1,275 x 1,650 pixels.*ASEAGI_MAX_PAGE_PIXELS"):
        bench.run(max_page_pixels=500_000)


def test_refusing_a_huge_picture_takes_no_memory(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(_: Any) -> None:
        raise AssertionError("it was decoded")

    bench.save(Image.new("1", (9000, 9000), 1), "PNG")
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", load)
    with pytest.raises(TooLarge):
        bench.run(max_page_pixels=1_000_000)


def test_large_jpegs_are_decoded_small(bench: Bench) -> None:
    bench.save(page("RGB", size=(1275, 1650), ink=BLACK, paper=WHITE), "JPEG")
    assert bench.run(max_page_pixels=500_000).pages[0].source is None


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "I;16"])
def test_pictures_in_strips_are_seamless(mode: str, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_STRIP_BYTES", 100_000)
    drawn = page("L", size=(2550, 3300))
    picture = Image.fromarray(np.asarray(drawn, np.uint16) * 257) if mode == "I;16" else drawn.convert(mode)
    bench.save(picture, "PNG").run(max_page_pixels=2_104_000)
    found = bench.image()
    expected = np.asarray(drawn.resize(found.shape[::-1], Image.Resampling.BOX), np.int16)
    assert np.abs(expected - found).mean() < 2
    assert corner(found) == "top left"


def test_blank_frames_are_known(bench: Bench) -> None:
    empty = Image.new("L", (850, 1100), 250)
    reading = bench.save(empty, "TIFF", save_all=True, append_images=[page(), empty]).run()
    assert [found.source for found in reading.pages] == ["blank", None, "blank"]
    assert [path.name for path in (bench.scratch / "pages").iterdir()] == ["00002.pgm"]
    with Image.open(bench.scratch / "thumbnail.jpg") as small:
        assert np.asarray(small.convert("L")).min() < 100


def test_too_many_frames_name_the_setting(bench: Bench) -> None:
    bench.save(page(), "TIFF", save_all=True, append_images=[page()] * 3)
    with pytest.raises(TooLarge, match="ASEAGI_MAX_PAGES"):
        bench.run(max_pages=3)


def test_again_gives_the_same(bench: Bench) -> None:
    first = bench.save(page(), "TIFF", save_all=True, append_images=[page()]).run()
    before = {path.name: path.read_bytes() for path in bench.scratch.rglob("*") if path.is_file()}
    assert bench.run() == first
    assert {path.name: path.read_bytes() for path in bench.scratch.rglob("*") if path.is_file()} == before
    assert sorted(before) == ["00001.pgm", "00002.pgm", "thumbnail.jpg"]


@pytest.mark.parametrize(("kind", "media_type"), [("PNG", "image/png"), ("JPEG", "image/jpeg"), ("TIFF", "image/tiff")])
@pytest.mark.parametrize("damage", ["cut", "noise", "header"])
@pytest.mark.filterwarnings("ignore:Tag data larger:UserWarning", "ignore:Corrupt EXIF:UserWarning")
def test_damaged_pictures_are_unreadable(kind: str, media_type: MediaType, damage: str, bench: Bench) -> None:
    bench.save(Image.effect_noise((600, 800), 60), kind)
    data = bytearray(bench.path.read_bytes())
    if damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "noise":
        data[8:600] = np.random.default_rng(1).integers(0, 256, 592, np.uint8).tobytes()
    else:
        del data[12:]
    bench.path.write_bytes(data)
    with pytest.raises((Unreadable, NoPages, TooLarge)):
        bench.run()


def test_a_tiff_whose_frames_go_in_circles_ends(bench: Bench) -> None:
    out = io.BytesIO()
    page(size=(85, 110)).save(out, "TIFF", save_all=True, append_images=[page(size=(85, 110))])
    data = bytearray(out.getvalue())
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    second = int.from_bytes(data[first + 2 + 12 * count :][:4], "little")
    count = int.from_bytes(data[second : second + 2], "little")
    data[second + 2 + 12 * count : second + 6 + 12 * count] = first.to_bytes(4, "little")
    bench.path.write_bytes(data)
    assert len(bench.run().pages) == 2
