"""Pictures of the pages for people to look at: ``SCREENS=folder pytest tests/chain/monitor``."""

from __future__ import annotations

import os
from pathlib import Path

from playwright.sync_api import Page

WIDTHS = {"desktop": 1300, "phone": 390}


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
