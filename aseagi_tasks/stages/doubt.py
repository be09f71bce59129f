"""Between the second stage and the third: text layers that are not what their pages show are not believed."""

from __future__ import annotations

from aseagi_tasks.documents import Reading
from aseagi_tasks.reading.contradiction import ReadLine, is_suspect, settled
from aseagi_tasks.stages.workplace import Workplace


def doubt(place: Workplace, reading: Reading, read_line: ReadLine) -> Reading:
    """The reading; where a sample of its text layers is not what the pages show, with those pages unread.

    ``cache/<job>/layers.json`` keeps what the text layers say, for ``believe``.
    """
    layers = tuple(page for page in reading.pages if page.source == "text-layer" and page.lines)
    conf, source = place.settings, place.source
    if not layers or source.media_type != "application/pdf" or conf.hidden_text == "read":
        return reading
    if not is_suspect(place.original(), source.name, layers, read_line, timeout_s=conf.render_timeout_s):
        return reading
    place.save("layers.json", Reading(engine=reading.engine, pages=layers))
    unread = {page.number: page.model_copy(update={"source": None, "lines": (), "confidence": None}) for page in layers}
    return reading.model_copy(update={"pages": tuple(unread.get(page.number, page) for page in reading.pages)})


def believe(place: Workplace, reading: Reading) -> Reading:
    """The reading with the text layers that were doubted and say what their pages show."""
    layers = place.load("layers.json", Reading)
    said = {page.number: page for page in layers.pages} if layers else {}
    pages = (settled(said[page.number], page) if page.number in said else page for page in reading.pages)
    return reading.model_copy(update={"pages": tuple(pages)})
