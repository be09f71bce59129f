"""What is done to a page image before it is recognized. Each step only where the page wants it.

DESIGN.md has what each is worth.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]

#: Less skew is left alone: turning costs 40 ms and recognition does not mind it.
MIN_SKEW = 0.2
#: Paper whose brightness differs by more grey levels than this over the page is made even.
UNEVEN = 60
#: A sheet on a table is looked for at so many pixels, takes up so much of the picture, and is so much brighter.
_SHEET_PX, _SHEET_SHARE, _SHEET_BRIGHTER = 500, (0.25, 0.97), 1.2
#: A page with at least so many specks is dirty. A speck is smaller, and nothing larger is as near as a full stop
#: is to its letter, in inches across and down.
DIRTY, _SPECK_IN, _NEAR_IN = 20, 0.03, (0.1, 0.03)
_UNDERLINE_IN = 0.25
#: A streak is no wider, has no letter so near, and is in so many of twenty parts of the page.
STREAK_IN, _ALONE_IN, _STREAK_PARTS = 0.02, 0.1, 6
_BESIDE_IN = 0.04
#: A page with at least so many long rules in both directions is a form or a table.
FORM_RULES = 4


def turn(image: Grey, degrees: int) -> Grey:
    """The page turned clockwise by 0, 90, 180 or 270 degrees."""
    codes = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    return image if degrees == 0 else cv2.rotate(image, codes[degrees]).astype(np.uint8, copy=False)


def flatten(image: Grey) -> tuple[Grey, NDArray[np.float64]]:
    """A sheet photographed on a table, alone and square, and the 3 x 3 matrix from there back to the picture.

    Any other page as it is, and the identity: it takes four straight sides with paper brighter than what is around.
    """
    corners = _sheet(image)
    if corners is None:
        return image, np.eye(3)
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    width, height = round((sides[0] + sides[2]) / 2), round((sides[1] + sides[3]) / 2)
    square = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    back = cv2.getPerspectiveTransform(square, corners.astype(np.float32))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    flat = cv2.warpPerspective(image, back, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return flat.astype(np.uint8, copy=False), back.astype(np.float64)


def _sheet(image: Grey) -> NDArray[np.float64] | None:
    """Corners of a sheet, 4 x 2, from the upper left clockwise; None if it fills the picture or cannot be made out."""
    shrink = _SHEET_PX / max(image.shape)
    small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    plain = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((11, 11), np.uint8))  # no letters, no rules
    edge = 8
    plain = cv2.copyMakeBorder(plain, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=0)
    plain = cv2.GaussianBlur(plain, (0, 0), 1.5)
    borders = cv2.dilate(cv2.Canny(plain.astype(np.uint8), 25, 60), np.ones((3, 3), np.uint8))
    count, labels, stats, _ = cv2.connectedComponentsWithStats((borders == 0).astype(np.uint8), connectivity=4)
    if count < 2:
        return None
    largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
    contours, _ = cv2.findContours((labels == largest).astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hull = cv2.convexHull(max(contours, key=len))
    corners = cv2.approxPolyDP(hull, 0.02 * cv2.arcLength(hull, closed=True), closed=True)[:, 0].astype(np.float64)
    area, whole = cv2.contourArea(hull), small.shape[0] * small.shape[1]
    filled = stats[largest, cv2.CC_STAT_AREA] / max(1.0, area)
    if len(corners) != 4 or not _SHEET_SHARE[0] * whole < area < _SHEET_SHARE[1] * whole or filled < 0.97:
        return None
    corners = corners[np.argsort(np.arctan2(*(corners - corners.mean(axis=0)).T[::-1]))]
    corners = np.roll(corners, -int(np.argmin(corners.sum(axis=1))), axis=0)
    at_border = np.hstack([corners - edge < 4, corners - edge > np.array(small.shape[::-1]) - 5])
    if (at_border & np.roll(at_border, -1, axis=0)).any():
        return None  # a side of the picture is no side of the sheet
    sides = np.roll(corners, -1, axis=0) - corners
    lengths = np.linalg.norm(sides, axis=1)
    if min(lengths[0] / lengths[2], lengths[2] / lengths[0], lengths[1] / lengths[3], lengths[3] / lengths[1]) < 0.6:
        return None
    outward = np.stack([sides[:, 1], -sides[:, 0]], axis=1) / lengths[:, None]
    along = np.linspace(0.08, 0.92, 40)[:, None]
    for corner, side, out in zip(corners, sides, outward, strict=True):
        line = corner + along * side
        inside, outside = (plain[tuple((line + by * out).round().astype(int).T[::-1])] for by in (-6, 6))
        if (inside.astype(float) > _SHEET_BRIGHTER * outside).mean() < 0.85:
            return None
    grown = corners + 2 * (outward + np.roll(outward, 1, axis=0)) - edge  # borders were drawn thick
    return np.clip(grown / shrink, 0, np.array(image.shape[::-1]) - 1.0)


def straighten(image: Grey, skew: float) -> tuple[Grey, NDArray[np.float64]]:
    """The page with its lines level, and the 3 x 3 matrix from there back to the page as it was.

    Args:
        skew: degrees by which lines rise.
    """
    height, width = image.shape
    if abs(skew) < MIN_SKEW:
        return image, np.eye(3)
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -skew, 1)
    level = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    back = np.vstack([cv2.invertAffineTransform(matrix), [0.0, 0.0, 1.0]])
    return level.astype(np.uint8, copy=False), back


def even_paper(image: Grey, dpi: float) -> Grey:
    """The page with shadows divided out, where its paper is uneven; otherwise as it is."""
    shrink = min(1.0, 37.5 / dpi)
    small = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    # the brightest in a quarter of an inch is paper; the median takes what is left of letters
    paper = cv2.medianBlur(cv2.dilate(small, np.ones((9, 9), np.uint8)), 21)
    low, high = np.percentile(paper, (2, 98))
    if high - low < UNEVEN:
        return image
    whole = cv2.resize(paper, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)
    return cv2.divide(image, whole, scale=255).astype(np.uint8, copy=False)


def despeckle(image: Grey, dpi: float) -> Grey:
    """A dirty page without specks that belong to no letter, and without streaks; other pages as they are.

    A streak is what dirt on a fax's or scanner's glass draws: a thin broken line down the page.
    """
    middle, _ = cv2.threshold(image, 0, 1, cv2.THRESH_OTSU)
    paper = int(np.median(image))
    faint = (middle + paper) / 2  # faint parts of letters are no specks
    ink: Grey = cv2.threshold(image, faint, 1, cv2.THRESH_BINARY_INV)[1].astype(np.uint8, copy=False)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    wide, tall = stats[:, cv2.CC_STAT_WIDTH], stats[:, cv2.CC_STAT_HEIGHT]
    large = np.maximum(wide, tall) >= _SPECK_IN * dpi
    where = np.flatnonzero(ink.view(np.bool_))
    label = labels.ravel()[where]

    def mask(components: NDArray[np.bool_]) -> Grey:
        shown = np.zeros(ink.size, np.uint8)
        shown[where] = components[label]
        return shown.reshape(ink.shape)

    around = np.ones((2 * round(_NEAR_IN[1] * dpi) + 1, 2 * round(_NEAR_IN[0] * dpi) + 1), np.uint8)
    near = cv2.dilate(mask(large), around).ravel()[where] > 0
    specks = ~large & (np.bincount(label[near], minlength=count) == 0)
    specks[0] = False
    dirt = mask(specks) if specks.sum() >= DIRTY else np.zeros_like(ink)
    columns = streaks(ink, mask(large & (wide <= STREAK_IN * dpi)), dpi)
    if columns.any():  # where ink is beside it, the streak is in a letter, or is one
        streak = narrow(ink, dpi) * columns
        beside = cv2.dilate(cv2.subtract(ink, streak), np.ones((1, 2 * round(_BESIDE_IN * dpi) + 1), np.uint8))
        dirt |= cv2.subtract(streak, beside).astype(np.uint8, copy=False)
    if not dirt.any():
        return image
    clean = image.copy()
    clean[cv2.dilate(dirt, np.ones((3, 3), np.uint8)) > 0] = paper
    return clean


def streaks(ink: Grey, thin: Grey, dpi: float) -> Grey:
    """0 or 1 for each column, 1 x W: whether thin pieces that no letter is beside are in it all over the page.

    Args:
        ink: 0 or 1. thin: 0 or 1, its pieces that are no wider than ``STREAK_IN``.
    """
    beside = cv2.dilate(cv2.subtract(ink, thin), np.ones((1, 2 * round(_ALONE_IN * dpi) + 1), np.uint8))
    alone = cv2.dilate(cv2.subtract(thin, beside), np.ones((1, 3), np.uint8))
    parts = np.stack([part.any(axis=0) for part in np.array_split(alone, 20)])
    columns = (parts.sum(axis=0) >= _STREAK_PARTS).astype(np.uint8)[None, :]
    return cv2.dilate(columns, np.ones((1, 3), np.uint8)).astype(np.uint8, copy=False)


def narrow(ink: Grey, dpi: float) -> Grey:
    """0 or 1: ink that is no wider than a streak where it is."""
    wider = np.ones((1, round(STREAK_IN * dpi) + 1), np.uint8)
    return cv2.subtract(ink, cv2.morphologyEx(ink, cv2.MORPH_OPEN, wider)).astype(np.uint8, copy=False)


def without_rules(image: Grey, dpi: float) -> Grey:
    """A form or table without its lines, which recognition takes for edges of columns; other pages as they are."""
    ink = (image < 160).astype(np.uint8)
    across = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((1, round(0.5 * dpi)), np.uint8))
    down = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((round(0.3 * dpi), 1), np.uint8))
    if min(_count(across, dpi), _count(down, dpi)) < FORM_RULES:
        return image
    clean = image.copy()
    clean[cv2.dilate(np.maximum(across, down), np.ones((5, 5), np.uint8)) > 0] = 255
    return clean


def without_underlines(image: Grey, dpi: float) -> Grey:
    """The page without thin level rules, which a reader of lines takes for letters; what crosses them is cut."""
    long, thick = round(_UNDERLINE_IN * dpi), round(STREAK_IN * dpi)
    ink = (image < 160).astype(np.uint8)
    level = cv2.morphologyEx(cv2.dilate(ink, np.ones((3, 1), np.uint8)), cv2.MORPH_OPEN, np.ones((1, long), np.uint8))
    rules = cv2.subtract(level, cv2.morphologyEx(level, cv2.MORPH_OPEN, np.ones((thick + 3, 1), np.uint8)))
    if not rules.any():
        return image
    clean = image.copy()
    clean[rules > 0] = np.median(image)
    return clean


#: Page → page, by the names that settings have for them.
STEPS: dict[str, Callable[[Grey, float], Grey]] = {"even": even_paper, "despeckle": despeckle, "rules": without_rules}


def _count(rules: NDArray[np.generic], dpi: float) -> int:
    """How many rules: long and thin, so that large letters and blots are none."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(rules.astype(np.uint8), connectivity=8)
    long, short = stats[1:, 2:4].max(axis=1), stats[1:, 2:4].min(axis=1)
    return int(((long > 0.3 * dpi) & (short < 0.06 * dpi)).sum())
