"""Leaves bound into one file: PDF, TIFF, JPEG or PNG, with the same bytes each time."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aseagi_tasks.samples.drawing import ECF_BLUE, Sheet, draw
from aseagi_tasks.samples.scanning import Scan, photograph, rasterize, scan
from aseagi_tasks.samples.truth import PageKind, TruePage

if TYPE_CHECKING:
    import pikepdf
    from PIL.Image import Image as Picture

    from aseagi_tasks.samples.scanning import Image


@dataclass(frozen=True)
class Leaf:
    """One page of a document.

    Attributes:
        sheet: what is printed on it.
        scan: how it was scanned; None for a page that was never paper.
        stamp: a filing system's line over a scanned page, the only text that the page has as text.
        behind: what is printed on the other side of the paper, if it shines through.
    """

    sheet: Sheet
    scan: Scan | None = None
    stamp: str = ""
    behind: Sheet | None = None

    def truth(self, number: int) -> TruePage:
        """What is known about the page."""
        kind: PageKind
        if not self.sheet.lines:
            kind = "blank"
        elif self.scan is None:
            kind = "text-layer"
        else:
            kind = "stamped-scan" if self.stamp else "scan"
        text = "\n".join(part for part in (" ".join(self.stamp.split()), self.sheet.text) if part)
        return TruePage(number=number, kind=kind, rotation_applied=self.scan.rotation if self.scan else 0, text=text)


def bind_pdf(leaves: Sequence[Leaf], *, title: str, seed: int) -> bytes:
    """Born-digital pages as they are, scanned ones as one image each, stamps on top; a mere scan has no title."""
    import pikepdf

    images = _scans(leaves, seed)
    typed = [leaf.sheet for leaf in leaves if leaf.scan is None]
    stamped = [leaf for leaf in leaves if leaf.stamp]
    with pikepdf.new() as pdf:
        if typed:
            with pikepdf.open(io.BytesIO(draw(typed))) as source:
                pdf.pages.extend(source.pages)
        for place, leaf in enumerate(leaves):
            if leaf.scan is not None:
                pdf.pages.insert(place, _image_page(pdf, leaf.scan, images[place]))
        if stamped:
            with pikepdf.open(io.BytesIO(draw([_stamp_sheet(leaf) for leaf in stamped]))) as source:
                stamps = iter(source.pages)
                for place, leaf in enumerate(leaves):
                    if leaf.stamp:  # pikepdf's add_overlay draws a random name, and the bytes must not change
                        form = pdf.copy_foreign(next(stamps).as_form_xobject())
                        pdf.pages[place].add_resource(form, pikepdf.Name.XObject, pikepdf.Name.Stamp)
                        pdf.pages[place].contents_add(b"/Stamp Do")
        if typed:
            pdf.docinfo["/Title"] = title
        target = io.BytesIO()
        pdf.save(target, deterministic_id=True, object_stream_mode=pikepdf.ObjectStreamMode.generate)
    return target.getvalue()


def bind_tiff(leaves: Sequence[Leaf], *, seed: int) -> bytes:
    """All pages bitonal, in one TIFF with fax compression."""
    images = _scans(leaves, seed)
    pages = [_bitonal(images[place]) for place in range(len(leaves))]
    dpi = leaves[0].scan.dpi if leaves[0].scan else 200
    target = io.BytesIO()
    pages[0].save(
        target,
        "TIFF",
        compression="group4",
        save_all=True,
        append_images=pages[1:],
        dpi=(dpi, dpi),
        software="FaxGate 4",
    )
    return target.getvalue()


def bind_photograph(leaf: Leaf, *, seed: int) -> bytes:
    """A telephone's JPEG of one sheet; it knows no dpi."""
    import numpy as np
    from PIL import Image

    page = rasterize(draw([leaf.sheet]), 300, colour=True)[0]
    target = io.BytesIO()
    Image.fromarray(photograph(page, np.random.default_rng(seed))).save(target, "JPEG", quality=70)
    return target.getvalue()


def bind_png(leaf: Leaf, *, seed: int) -> bytes:
    """One page as a PNG with a palette of 16 greys, as an office scanner's "small file" setting writes it."""
    import numpy as np
    from PIL import Image

    picture = Image.fromarray((np.round(_scans([leaf], seed)[0] / 17.0)).astype(np.uint8), "P")
    picture.putpalette([level * 17 for level in range(16) for _ in range(3)])
    dpi = leaf.scan.dpi if leaf.scan else 200
    target = io.BytesIO()
    picture.save(target, "PNG", bits=4, dpi=(dpi, dpi), compress_level=6)
    return target.getvalue()


def _scans(leaves: Sequence[Leaf], seed: int) -> dict[int, Image]:
    """Images of the scanned leaves by place; pages of one resolution are rendered together."""
    import numpy as np

    groups: dict[tuple[int, bool], list[int]] = {}
    for place, leaf in enumerate(leaves):
        if leaf.scan is not None:
            groups.setdefault((leaf.scan.dpi, leaf.scan.mode == "colour"), []).append(place)
    images: dict[int, Image] = {}
    for (dpi, colour), places in groups.items():
        fronts = rasterize(draw([leaves[place].sheet for place in places]), dpi, colour=colour)
        backed = [place for place in places if leaves[place].behind is not None]
        sheets = [sheet for place in backed if (sheet := leaves[place].behind) is not None]
        backs = dict(zip(backed, rasterize(draw(sheets), dpi, colour=colour) if sheets else [], strict=True))
        for place, front in zip(places, fronts, strict=True):
            how = leaves[place].scan
            assert how is not None
            images[place] = scan(front, how, np.random.default_rng([seed, place]), behind=backs.get(place))
    return images


def _stamp_sheet(leaf: Leaf) -> Sheet:
    sheet = Sheet(leaf.sheet.fonts)
    sheet.write(sheet.width / 2, 26, leaf.stamp, role="sans", size=9.5, align="centre", colour=ECF_BLUE)
    return sheet


def _bitonal(image: Image) -> Picture:
    from PIL import Image

    return Image.fromarray(image).convert("1", dither=Image.Dither.NONE)


def _image_page(pdf: pikepdf.Pdf, how: Scan, image: Image) -> pikepdf.Page:
    """A page that is nothing but one image: fax-compressed when bitonal, else JPEG."""
    import pikepdf
    from PIL import Image

    rows, columns = image.shape[:2]
    width, height = columns * 72 / how.dpi, rows * 72 / how.dpi
    if how.mode == "bitonal":
        picture = pikepdf.Stream(pdf, _fax_rows(image))
        picture.Filter = pikepdf.Name.CCITTFaxDecode
        picture.DecodeParms = pikepdf.Dictionary(K=-1, Columns=columns, Rows=rows, BlackIs1=True)
        picture.ColorSpace, picture.BitsPerComponent = pikepdf.Name.DeviceGray, 1
    else:
        data = io.BytesIO()
        Image.fromarray(image).save(data, "JPEG", quality=how.quality, dpi=(how.dpi, how.dpi))
        picture = pikepdf.Stream(pdf, data.getvalue())
        picture.Filter = pikepdf.Name.DCTDecode
        picture.ColorSpace = pikepdf.Name.DeviceRGB if how.mode == "colour" else pikepdf.Name.DeviceGray
        picture.BitsPerComponent = 8
    picture.Type, picture.Subtype = pikepdf.Name.XObject, pikepdf.Name.Image
    picture.Width, picture.Height = columns, rows
    content = f"q {width:.3f} 0 0 {height:.3f} 0 0 cm /Im0 Do Q".encode()
    return pikepdf.Page(
        pikepdf.Dictionary(
            Type=pikepdf.Name.Page,
            MediaBox=[0, 0, round(width, 3), round(height, 3)],
            Resources=pikepdf.Dictionary(XObject=pikepdf.Dictionary(Im0=picture)),
            Contents=pikepdf.Stream(pdf, content),
        )
    )


def _fax_rows(image: Image) -> bytes:
    """CCITT group 4 data of a bitonal image: the one strip of a TIFF that Pillow writes."""
    from PIL import Image, TiffImagePlugin

    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[TiffImagePlugin.ROWSPERSTRIP] = image.shape[0]
    data = io.BytesIO()
    _bitonal(image).save(data, "TIFF", compression="group4", tiffinfo=tags)
    with Image.open(data) as written:
        assert isinstance(written, TiffImagePlugin.TiffImageFile)
        (start,), (length,) = (
            written.tag_v2[TiffImagePlugin.STRIPOFFSETS],
            written.tag_v2[TiffImagePlugin.STRIPBYTECOUNTS],
        )
        return data.getvalue()[start : start + length]
