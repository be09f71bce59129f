"""What nobody can beat: the work alone, and a clairvoyant."""

from __future__ import annotations

import math

from aseagi_tasks.fleet.model import Limits

from .market import SLOT_S, Market
from .traces import DAY, Document

#: A clairvoyant's machines have the image, boot in the usual time for that, and never fail.
BOOT_S = 35.0
LONGEST = 12  # documents that one machine serves in a row


def allowed(market: Market, slot: int, limits: Limits) -> list[tuple[float, float]]:
    """($/s, seconds per page) of every machine that the limits admit in that slot."""
    return [
        (offer.price_usd_per_hour / 3600, market.machines[offer.machine_id].page_s)
        for offer in market.offers(slot)
        if offer.reliability >= limits.reliability
        and offer.price_usd_per_hour <= limits.price_cap_usd_per_hour.get(offer.gpu, 0)
    ]


def work_alone(documents: list[Document], market: Market, limits: Limits) -> float:
    """Dollars for the pages on the machine that reads them cheapest, that day: no boot, no idling, no hurry."""
    least: dict[int, float] = {}
    usd = 0.0
    for document in documents:
        day = int(document.at // DAY)
        if day not in least:
            slots = range(int(day * DAY // SLOT_S), int((day + 1) * DAY // SLOT_S))
            least[day] = min(usd_s * page_s for slot in slots for usd_s, page_s in allowed(market, slot, limits))
        usd += document.pages * least[day]
    return usd


def clairvoyant(documents: list[Document], done_at: list[float], market: Market, limits: Limits) -> float:
    """Dollars of the cheapest plan that knows everything and is done with no document later than ``done_at`` says.

    Documents in the order in which they come are cut into runs; each run is one machine, ready at the last moment that
    keeps all its promises, and gone when its last document is read. Dynamic programming over the cuts.
    """
    least = [0.0] + [math.inf] * len(documents)
    for first in range(len(documents)):
        if least[first] == math.inf:
            continue
        slot = int(documents[first].at // SLOT_S)
        for usd_s, page_s in allowed(market, slot, limits):
            latest, work_s = math.inf, 0.0
            for last in range(first, min(first + LONGEST, len(documents))):
                work_s += documents[last].pages * page_s
                latest = min(latest, done_at[last] - work_s)
                at = latest
                feasible = True
                for number in range(first, last + 1):
                    at = max(at, documents[number].at) + documents[number].pages * page_s
                    feasible = feasible and at <= done_at[number] + 1e-6
                if not feasible:
                    break
                usd = least[first] + usd_s * (BOOT_S + at - latest)
                least[last + 1] = min(least[last + 1], usd)
    return least[-1]


def bulk(pages: int, begins: float, lasts_s: float, market: Market, limits: Limits) -> float:
    """Dollars for a bulk run that is done in the same time, on the machines that do it cheapest, split without a rest.

    The offers are those of the run's first minutes, the machines boot as a clairvoyant's do, and the last one filled
    runs only as long as it must.
    """
    room_s, rest, usd = max(0.0, lasts_s - BOOT_S), float(pages), 0.0
    machines = sorted(allowed(market, int(begins // SLOT_S), limits), key=lambda machine: machine[0] * machine[1])
    for usd_s, page_s in machines:
        taken = min(rest, room_s / page_s)
        usd += usd_s * (BOOT_S + taken * page_s)
        rest -= taken
        if rest <= 0:
            return usd
    return math.inf


def least_usd(name: str, finished: list[tuple[Document, float]], market: Market, limits: Limits) -> float:
    """The optimum of a trace: what serves nobody later than ``finished`` tells, or less than that.

    A bulk run: the cheapest machines that are done as soon, and the work alone for the rest. A lone telephone: the
    clairvoyant. Where many machines and many promises meet, no exact plan is known: the work alone.
    """
    documents = [document for document, _ in finished]
    if name == "lone":
        by_arrival = sorted(finished)
        return clairvoyant([one for one, _ in by_arrival], [at for _, at in by_arrival], market, limits)
    if not name.startswith("nightly"):
        return work_alone(documents, market, limits)
    usd = work_alone([one for one in documents if one.interactive], market, limits)
    for day in sorted({int(one.at // DAY) for one in documents}):
        run = [(one.pages, at) for one, at in finished if not one.interactive and int(one.at // DAY) == day]
        begins = day * DAY + 3600
        if run:
            usd += bulk(sum(pages for pages, _ in run), begins, max(at for _, at in run) - begins, market, limits)
    return usd
