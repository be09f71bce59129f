"""What scanners, fax machines and telephones do to a page; pixels only.

Images are uint8 arrays, grey (h x w) or RGB (h x w x 3). Every random number comes from a generator that is passed in,
so that a sample is the same bytes each time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from aseagi_tasks.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Image = NDArray[np.uint8]
    Floats = NDArray[np.float32]

#: A telephone's sensor, upright (about 8 megapixels).
PHOTO_SIZE = (2448, 3264)


@dataclass(frozen=True)
class Scan:
    """How a page was scanned.

    Attributes:
        dpi: resolution.
        mode: bitonal as office copiers and fax machines, grey, or colour.
        turn: degrees clockwise by which the sheet was turned when it was fed.
        skew: degrees by which it lay askew, positive counter-clockwise.
        noise: standard deviation of the sensor's noise, in grey levels.
        specks: dust, in specks per square inch.
        blur: standard deviation of the optics' blur, in pixels.
        paper: grey level of the empty paper.
        edge: whether the lid's shadow shows along one side.
        streaks: vertical lines that dirt on a feeder's glass leaves.
        quality: JPEG quality of grey and colour pages.
    """

    dpi: int = 200
    mode: Literal["bitonal", "grey", "colour"] = "grey"
    turn: Literal[0, 90, 180, 270] = 0
    skew: float = 0.0
    noise: float = 3.0
    specks: float = 0.3
    blur: float = 0.6
    paper: int = 246
    edge: bool = False
    streaks: int = 0
    quality: int = 45

    @property
    def rotation(self) -> Literal[0, 90, 180, 270]:
        """Degrees clockwise that make the page upright again."""
        back: dict[int, Literal[0, 90, 180, 270]] = {0: 0, 90: 270, 180: 180, 270: 90}
        return back[self.turn]


def rasterize(pdf: bytes, dpi: int, *, colour: bool = False) -> list[Image]:
    """Render every page of a PDF.

    Raises:
        ConfigError: poppler is not installed.
    """
    import numpy as np
    from pdf2image import convert_from_bytes
    from pdf2image.exceptions import PDFInfoNotInstalledError

    try:
        pages = convert_from_bytes(pdf, dpi=dpi, grayscale=not colour)
    except (PDFInfoNotInstalledError, FileNotFoundError) as exc:
        raise ConfigError(
            "poppler", "pdftoppm and pdfinfo were not found.", "Install poppler-utils (macOS: poppler)."
        ) from exc
    return [np.asarray(page.convert("RGB" if colour else "L")) for page in pages]


def scan(page: Image, how: Scan, rng: np.random.Generator, *, behind: Image | None = None) -> Image:
    """The page as the scanner gives it; bitonal pages come back as 0 and 255.

    Args:
        page: what is printed on this side, upright.
        how: the scanner.
        rng: for noise and dust.
        behind: what is printed on the other side; it shines through, mirrored and faint.
    """
    import cv2
    import numpy as np

    ink: Any = page.astype(np.float32) / 255.0
    if behind is not None:
        ghost = cv2.GaussianBlur(behind[:, ::-1].astype(np.float32) / 255.0, (0, 0), 2.2 * how.dpi / 200)
        ink = ink * (1.0 - 0.055 * (1.0 - ghost))
    if how.skew:
        height, width = ink.shape[:2]
        matrix = cv2.getRotationMatrix2D((width / 2, height / 2), how.skew, 1.0)
        ink = cv2.warpAffine(ink, matrix, (width, height), flags=cv2.INTER_LINEAR, borderValue=(0.9, 0.9, 0.9))
    if how.blur:
        ink = cv2.GaussianBlur(ink, (0, 0), how.blur)
    grey = 22.0 + ink * (how.paper - 22.0)
    _mark_dust(grey, how, rng)
    if how.edge:
        reach = np.arange(grey.shape[1], dtype=np.float32) / (0.16 * how.dpi)
        shade = 1.0 - 0.75 * np.exp(-(reach**2))
        grey *= shade if grey.ndim == 2 else shade[:, None]
    if how.noise:
        sensor = rng.standard_normal(grey.shape[:2], dtype=np.float32) * how.noise
        grey += sensor if grey.ndim == 2 else sensor[:, :, None]
    if how.mode == "bitonal":
        grey = np.where(grey < 0.62 * how.paper, 0.0, 255.0)
    pixels = np.clip(grey, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.rot90(pixels, k=-how.turn // 90))


def _mark_dust(grey: Floats, how: Scan, rng: np.random.Generator) -> None:
    """Specks, and streaks down the page, in place."""
    import cv2

    height, width = grey.shape[:2]
    for _ in range(int(how.specks * height * width / how.dpi**2)):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        shade = float(rng.integers(30, 120))
        radius = int(rng.integers(1, 1 + max(1, how.dpi // 100)))
        cv2.circle(grey, (x, y), radius - 1, (shade, shade, shade), -1)
    for _ in range(how.streaks):
        x = int(rng.integers(width // 20, width - width // 20))
        for y in range(0, height, 7):
            if rng.random() < 0.55:
                cv2.line(grey, (x, y), (x, y + 6), (40.0, 40.0, 40.0), 1)


def photograph(page: Image, rng: np.random.Generator) -> Image:
    """A telephone's picture of the page on a wooden table: perspective, lamp, the photographer's shadow, noise.

    Args:
        page: RGB, upright.
        rng: for grain and noise.
    Returns:
        RGB, ``PHOTO_SIZE``.
    """
    import cv2
    import numpy as np

    width, height = PHOTO_SIZE
    sheet = page.astype(np.float32) * np.array([0.975, 0.960, 0.925], np.float32)
    rows, columns = sheet.shape[:2]
    for fold, depth in ((rows / 3, 0.05), (2 * rows / 3, 0.04)):  # it came in an envelope
        distance = (np.arange(rows, dtype=np.float32) - fold) / (rows * 0.006)
        sheet *= (1.0 - depth * np.exp(-(distance**2)) + 0.5 * depth * np.exp(-((distance - 2) ** 2)))[:, None, None]
    corners: Any = np.array([[0, 0], [columns, 0], [columns, rows], [0, rows]], np.float32)
    seen: Any = np.array(
        [
            [width * 0.105, height * 0.072],
            [width * 0.915, height * 0.052],
            [width * 0.955, height * 0.938],
            [width * 0.052, height * 0.962],
        ],
        np.float32,
    )
    matrix = cv2.getPerspectiveTransform(corners, seen)
    laid = cv2.warpPerspective(sheet, matrix, (width, height), flags=cv2.INTER_AREA)
    cover = cv2.warpPerspective(np.ones((rows, columns), np.float32), matrix, (width, height))

    scene: Any = _table(width, height, rng)
    offset: Any = np.array([[1, 0, 22], [0, 1, 30]], np.float32)
    fallen = cv2.GaussianBlur(cv2.warpAffine(cover, offset, (width, height)), (0, 0), 18)
    scene *= (1.0 - 0.55 * fallen)[:, :, None]
    scene = scene * (1.0 - cover)[:, :, None] + laid * cover[:, :, None]

    across, down = np.meshgrid(
        np.linspace(0, 1, width, dtype=np.float32), np.linspace(0, 1, height, dtype=np.float32), copy=False
    )
    lamp = 1.04 - 0.30 * np.hypot(across - 0.30, (down - 0.22) * 1.2)
    hand = 1.0 / (1.0 + np.exp(-((across - 0.62) * 1.3 + (down - 0.72) * 2.0) * 9.0))
    scene *= (lamp * (1.0 - 0.40 * hand))[:, :, None] * np.array([1.0, 0.975, 0.915], np.float32)
    scene = cv2.GaussianBlur(scene, (0, 0), 0.9)
    scene += (rng.standard_normal((height, width), dtype=np.float32) * 3.2)[:, :, None]
    return np.clip(scene, 0, 255).astype(np.uint8)


def _table(width: int, height: int, rng: np.random.Generator) -> Floats:
    """Planks with grain, RGB in grey levels."""
    import cv2
    import numpy as np

    grain: Any = rng.standard_normal((height // 4, width // 64), dtype=np.float32)
    grain = cv2.GaussianBlur(cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC), (0, 0), 2)
    planks = np.repeat(rng.uniform(-14, 14, 6).astype(np.float32), math.ceil(height / 6))[:height]
    level = 1.0 + (grain * 9 + planks[:, None]) / 110
    seams = (np.arange(height) % math.ceil(height / 6)) < 5
    level[seams] *= 0.45
    return (level[:, :, None] * np.array([126, 84, 52], np.float32)).astype(np.float32)
