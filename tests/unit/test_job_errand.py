"""The pictures that go to Claude: of the size that was asked for, upright, on a host that has nothing else of it."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageOps
from reportlab.pdfgen.canvas import Canvas

from aseagi_tasks.analysis.asking import EDGE_PX, SURE_EDGE_PX, image_size
from aseagi_tasks.documents import Reading
from aseagi_tasks.settings import Settings
from aseagi_tasks.stages.analyze import JobErrand
from aseagi_tasks.stages.intake import examine
from aseagi_tasks.stages.workplace import Workplace
from aseagi_tasks.stores.folder import FolderStorage
from aseagi_tasks.stores.sqlite import SqliteRecords


def scan(folder: Path, name: str) -> Path:
    """Two letter pages at 200 dpi with a black corner at the top left."""
    pages = [Image.new("L", (1700, 2200), 255) for _ in range(2)]
    for page in pages:
        ImageDraw.Draw(page).rectangle((100, 100, 700, 400), fill=0)
    pages[0].save(folder / name, save_all=True, append_images=pages[1:], resolution=200)
    return folder / name


def born_digital(folder: Path) -> Path:
    canvas = Canvas(str(folder / "a.pdf"), pagesize=(612, 792))
    for _ in range(2):
        canvas.rect(36, 650, 216, 106, fill=1)
        canvas.drawString(72, 300, "The motion is granted.")
        canvas.showPage()
    canvas.save()
    return folder / "a.pdf"


@pytest.mark.parametrize("kind", ["scan.pdf", "scan.tif", "digital"])
@pytest.mark.parametrize("rotation", [0, 180])
def test_pages_are_rendered_small_and_upright_from_the_original(tmp_path: Path, kind: str, rotation: int) -> None:
    path = born_digital(tmp_path) if kind == "digital" else scan(tmp_path, kind)
    storage = FolderStorage(tmp_path / "bucket")
    storage.upload(path, f"raw/{path.name}")
    source = examine(path, path.name, f"raw/{path.name}", max_bytes=10**8)
    place = Workplace("job", source, storage, Settings(home=tmp_path, _env_file=None))  # type: ignore[call-arg]
    found = place.rasterize()
    shutil.rmtree(place.scratch)  # as on another host
    turned = Reading(engine="t", pages=tuple(page.model_copy(update={"rotation": rotation}) for page in found.pages))
    errand = JobErrand(place, turned, SqliteRecords(tmp_path / "r.sqlite3"))
    asked = {1: SURE_EDGE_PX, 2: EDGE_PX}
    for number, data in errand.images(asked).items():
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.format == "JPEG" and picture.mode == "L"
            assert picture.size == image_size(turned.pages[number - 1], asked[number])
            assert max(picture.size) <= asked[number]
            upright = ImageOps.exif_transpose(picture).rotate(rotation)
            assert upright.getpixel((picture.width // 5, picture.height // 9)) < 60
            assert upright.getpixel((picture.width * 4 // 5, picture.height * 8 // 9)) > 200
            assert len(data) < 200_000
