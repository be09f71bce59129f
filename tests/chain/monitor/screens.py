"""What is wrong with a page for who sees little, and pictures of the pages for people to look at.

``SCREENS=folder pytest tests/chain/monitor`` writes the pictures.
"""

from __future__ import annotations

import os
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WIDTHS = {"desktop": 1300, "phone": 390}


def serious(page: Page) -> list[tuple[str, list[str]]]:
    """Axe's serious findings, with where they are."""
    return [
        (one["id"], [node["html"][:120] for node in one["nodes"]][:3])
        for one in Axe().run(page).response["violations"]
        if one["impact"] in ("serious", "critical")
    ]


def keep(page: Page, name: str) -> None:
    """Write what the page shows, as wide as a desk's and as a telephone's, if a folder for it is named."""
    if (folder := os.environ.get("SCREENS")) is None:
        return
    Path(folder).mkdir(parents=True, exist_ok=True)
    before = page.viewport_size
    for how, width in WIDTHS.items():
        page.set_viewport_size({"width": width, "height": 850})
        page.screenshot(path=Path(folder) / f"{name}-{how}.png", full_page=True)
    if before is not None:
        page.set_viewport_size(before)
