"""What a bulk run will come to: documents, pages, dollars, hours, as ranges, each with how it was reckoned.

What was measured counts before what is reckoned, and that before what is assumed; ``how`` says which it was.
The upper bounds are meant to hold: one of them is what a run is confirmed with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

from aseagi_tasks.analysis import asking, prices
from aseagi_tasks.analysis.differences import whole_usd
from aseagi_tasks.bulk import sampling
from aseagi_tasks.bulk.measured import Kept, Measured, measured
from aseagi_tasks.bulk.sampling import Opened, Pages
from aseagi_tasks.errors import ConfigError
from aseagi_tasks.fleet.forecast import HOUR, TFLOPS
from aseagi_tasks.settings import Settings
from aseagi_tasks.stores.bulk_records import Quote, QuoteLine, Scan
from aseagi_tasks.stores.fleet_records import FleetRecords
from aseagi_tasks.stores.records import Records
from aseagi_tasks.stores.storage import Storage

Range = tuple[float, float]

#: Of fewer documents no mean is made.
ENOUGH = 4
#: Calls that are made again, and documents that are harder than those that were measured.
SPARE = 1.2
#: For so many documents the most that an answer can cost is set aside at once, asked live or by message batch: else
#: the last ones would wait for the cap. For batches no more than what all are expected to cost, but for the first 20.
AT_ONCE, IN_A_BATCH = 20, 200
#: Tokens of a page of text and of an answer, at least and at most (DESIGN.md: 597 and 688 in the corpus's middle).
TEXT_TOKENS, ANSWER_TOKENS = (300, 1_000), (300, 1_200)
#: Tokens of a letter page's image: one that was easy to read, one that was not.
IMAGE_TOKENS = (1_170, 2_464)
#: Hours that message batches take, as a rule.
BATCH_HOURS = (0.05, 1.0)
#: Seconds that one processor takes for a page: with a text layer, and with none (`make bench`).
PAGE_S = (0.04, 4.0)
#: Documents that queue and records alone let through in a second.
DOCUMENTS_PER_S = 50.0
#: A machine's way from the order to its first page, in seconds.
BOOT_S = (75.0, 420.0)
#: USD for a GB in a month, and whose price that is; the first is taken for what only looks like it. Held against the
#: sources in November 2026: aws.amazon.com/s3/pricing (Standard, first 50 TB, us-east-1) and
#: docs.digitalocean.com/products/spaces/details/pricing (beyond the first 250 GiB).
AMAZON, SPACES = (0.023, "Amazon S3 Standard"), (0.02, "DigitalOcean Spaces")
#: What is kept of a document in terms of its original, and bytes besides, where none was measured: a searchable copy,
#: text with boxes, facts and thumbnail.
KEPT_SHARE, KEPT_BYTES = (1.0, 1.5), (20_000, 100_000)


class Machines(NamedTuple):
    """What reads pages: seconds a page of one, how many of them, USD a page, and what else they cost."""

    page_s: Range
    number: int
    page_usd: Range
    besides_usd: Range
    how: str


def quote_of(
    run_id: str,
    scan: Scan,
    *,
    records: Records,
    storage: Storage,
    conf: Settings,
    fleet: FleetRecords | None,
    deadline: datetime | None = None,
    now: datetime | None = None,
) -> Quote:
    """Reckon what a run will come to.

    Args:
        scan: finished.
        fleet: None: no machines are rented.
        deadline: when the run begins nothing more.
    Raises:
        StorageUnavailable, RecordsUnavailable.
    """
    moment = now or datetime.now(UTC)
    model = conf.claude_model if conf.analyst_in_use == "claude" else None
    known = measured(records, storage, model)
    try:
        opened = sampling.sample(
            *(storage, run_id, scan, conf.scratch_root),
            max_pages=conf.max_pages,
            timeout_s=conf.render_timeout_s,
        )
    except ConfigError:  # poppler is not on this machine
        opened = []
    finished = [Opened(one.bytes, one.pages) for one in known.done]
    pages = sampling.reckon(scan.todo, scan.todo_bytes, opened, finished)
    machines = rented(conf, fleet, moment) if conf.fleet != "none" and fleet is not None else None
    return quote(scan, pages, known, conf, machines, None if deadline is None else deadline - moment)


def quote(
    scan: Scan, pages: Pages, known: Measured, conf: Settings, machines: Machines | None, left: timedelta | None = None
) -> Quote:
    """The quote, from what is known. Pure.

    Args:
        left: until the deadline.
    """
    documents = scan.todo
    claude, expected_usd = claude_line(documents, pages, known, conf)
    rent = rent_line(pages, machines)
    storage = storage_line(documents, scan.todo_bytes, known.kept, conf)
    hours = hours_line(documents, pages, known, conf, machines, (expected_usd, claude.high), left)
    usd = [sum(line.low for line in (claude, rent, storage)), sum(line.high for line in (claude, rent, storage))]
    said = f"{_size(scan.todo_bytes)} in files that no finished document is of; {scan.done:,} others are done."
    lines = (
        QuoteLine(what="documents", low=documents, high=documents, unit="documents", how=said),
        QuoteLine(what="pages", low=pages.low, high=pages.high, unit="pages", how=pages.how),
        *(claude, rent, storage, hours),
    )
    return Quote(
        documents=documents,
        pages=(pages.low, pages.high),
        usd=(round(usd[0], 4), math.ceil(usd[1] * 10_000) / 10_000),
        hours=(hours.low, hours.high),
        document_usd=(expected_usd + rent.high) / documents if documents else 0.0,
        lines=lines,
    )


# -- Claude


def claude_line(documents: int, pages: Pages, known: Measured, conf: Settings) -> tuple[QuoteLine, float]:
    """What Claude costs: as finished documents did, by document and by page, or by tokens.

    Returns:
        The line, and what of its upper bound is expected to be spent; the rest is set aside and comes back.
    """
    if conf.analyst_in_use != "claude":
        return _line("Claude", (0, 0), "USD", "Rules find the facts: nothing is asked of Claude."), 0.0
    model, batch = conf.claude_model, conf.claude_batches == "low"
    way = "by message batches at half price" if batch else "asked live"
    paid = [(one.pages, one.usd) for one in known.done if one.usd is not None]
    if len(paid) >= ENOUGH:
        share = prices.BATCH if batch else 1.0
        page_usd = sum(usd for _, usd in paid) / sum(count for count, _ in paid) * share
        whole = whole_usd([usd for _, usd in paid], documents, share=share) or (0.0, 0.0)
        low, high = min(whole[0], page_usd * pages.low), max(whole[1], page_usd * pages.high)
        said = f"{len(paid)} documents that {model} was asked about cost ${page_usd:.5f} a page, {way}"
    else:
        many = max(1, documents)
        low = documents * _document_usd(model, pages.low / many, batch=batch, low=True) / SPARE
        high = documents * _document_usd(model, pages.high / many, batch=batch, low=False)
        said = f"Too few documents were done to go by: by tokens at {model}'s prices of {prices.AS_OF}, {way}"
    expected = high * SPARE
    aside = aside_usd(documents, *bounds_usd(documents, pages, conf), conf, expected)
    said += f"; a fifth is added for what is asked twice, and ${aside:.2f} that is set aside before answers come"
    return _line("Claude", (low, expected + aside), "USD", f"{said}."), expected


def aside_usd(documents: int, each_usd: float, most_usd: float, conf: Settings, expected_usd: float) -> float:
    """What the cap has to hold beside what is expected to be spent.

    Args:
        each_usd, most_usd: the most that a document can cost, asked once, and asked again for a longer answer.
    """
    if not documents:
        return 0.0
    least = most_usd + (min(documents, AT_ONCE) - 1) * each_usd
    in_a_batch = min(min(documents, IN_A_BATCH) * each_usd, expected_usd)
    return max(least, in_a_batch) if conf.claude_batches == "low" else least


def bounds_usd(documents: int, pages: Pages, conf: Settings) -> Range:
    """The most that a document of twice the usual length can cost, asked once, and asked again for a longer answer."""
    tokens = 2 * pages.high / max(1, documents) * TEXT_TOKENS[1] + (2 + asking.MAX_UNSURE) * IMAGE_TOKENS[1]
    calls = max(1, math.ceil(tokens / asking.PART_TOKENS))
    size, model, batch = asking.frame_tokens() + round(tokens / calls), conf.claude_model, conf.claude_batches == "low"
    once = calls * prices.most_usd(model, size, asking.MAX_TOKENS, batch=batch)
    return once, asking.bound_usd(model, {f"p{number}": size for number in range(calls)}, batch=batch)


def _document_usd(model: str, pages: float, *, batch: bool, low: bool) -> float:
    """A document of so many pages by its tokens: first, last and hard pages as images, the others as text."""
    at = 0 if low else 1
    images = min(pages, 2.0 if low else 2.0 + asking.MAX_UNSURE)
    tokens = images * IMAGE_TOKENS[at] + (pages - images) * TEXT_TOKENS[at]
    calls = max(1, math.ceil(tokens / asking.PART_TOKENS))
    frame = asking.frame_tokens()
    cached = low and not batch
    usage = {
        "input_tokens": round(tokens / calls) + (0 if cached else frame),
        "cache_read_input_tokens": frame if cached else 0,
        "output_tokens": ANSWER_TOKENS[at],
    }
    merge = {"input_tokens": frame + calls * ANSWER_TOKENS[at], "output_tokens": ANSWER_TOKENS[at]}
    usd = calls * prices.cost_usd(model, usage, batch=batch)
    return usd + (prices.cost_usd(model, merge, batch=batch) if calls > 1 else 0.0)


# -- rent


def rented(conf: Settings, fleet: FleetRecords, now: datetime) -> Machines:
    """What rented machines take and cost, as they did lately, else as the settings let them."""
    rows = fleet.instances(since=now - timedelta(days=30))
    kinds = [(one.gpu, one.seconds_per_page) for one in fleet.machines() if one.seconds_per_page]
    kinds = [(gpu, page_s) for gpu, page_s in kinds if gpu in conf.fleet_price_caps]
    asked = {gpu: [row.price_usd_per_hour for row in rows if row.gpu == gpu] for gpu in conf.fleet_price_caps}
    if kinds:
        ways = [
            (page_s, price) for gpu, page_s in kinds for price in (asked[gpu] or _assumed(conf.fleet_price_caps[gpu]))
        ]
        spread, said = (1.0, SPARE), f"{len(kinds)} machines were measured"
    else:
        slow = TFLOPS["RTX 3080"]
        ways = [
            (slow / TFLOPS.get(gpu, slow), price)
            for gpu, cap in conf.fleet_price_caps.items()
            for price in (asked[gpu] or _assumed(cap))
        ]
        spread, said = (0.5, 2.0), "No machine was measured: a second a page on an RTX 3080 is assumed"
    if not ways:
        ways, said = [(conf.fleet_slowest_s_per_page, conf.fleet_usd_per_hour)], "No kind of GPU may be rented"
    page_s = min(way[0] for way in ways) * spread[0], max(way[0] for way in ways) * spread[1]
    page_usd = [seconds * price / HOUR for seconds, price in ways]
    hourly = min(price for _, price in ways), max(price for _, price in ways)
    count = max(1, conf.fleet_instances)
    besides = hourly[0] * BOOT_S[0] / HOUR, count * hourly[1] * (BOOT_S[1] + conf.fleet_idle_s) / HOUR
    how = f"{said}, {page_s[0]:.2f} to {page_s[1]:.2f} s a page at ${hourly[0]:.2f} to ${hourly[1]:.2f} an hour"
    return Machines(page_s, count, (min(page_usd) * spread[0], max(page_usd) * spread[1]), besides, how)


def rent_line(pages: Pages, machines: Machines | None) -> QuoteLine:
    """What is paid for rented machines."""
    if machines is None:
        return _line("machines", (0, 0), "USD", "No machines are rented: everything is read here.")
    found = tuple(count * usd for count, usd in zip(pages[:2], machines.page_usd, strict=True))
    whole = found[0] + machines.besides_usd[0], found[1] + machines.besides_usd[1]
    least = "" if pages.low else "; nothing if none is worth its launch"
    return _line("machines", whole, "USD", f"{machines.how}; launches and idling included{least}.")


def _assumed(cap: float) -> Sequence[float]:
    """What a machine costs that may cost so much."""
    return cap / 2, cap


# -- storage


def storage_line(documents: int, todo_bytes: int, kept: Sequence[Kept], conf: Settings) -> QuoteLine:
    """What the results cost in their first month."""
    known = [one for one in kept if one.bytes]
    if known:
        share = sum(one.results_bytes for one in known) / sum(one.bytes for one in known)
        each = whole_usd([float(one.results_bytes) for one in known], documents) or (0.0, 0.0)
        size = min(each[0], share * todo_bytes), max(each[1], share * todo_bytes)
        said = f"as of {len(known)} documents done before, {share:.1f} times their originals"
    else:
        size = tuple(  # type: ignore[assignment]
            part * todo_bytes + documents * more for part, more in zip(KEPT_SHARE, KEPT_BYTES, strict=True)
        )
        said = "a searchable copy, text, facts and thumbnail of each, reckoned"
    how = f"{_size(size[0])} to {_size(size[1])} of results ({said})"
    if conf.storage != "s3":
        return _line("storage", (0, 0), "USD", f"{how} on this machine's disk.")
    host = urlsplit(conf.s3_endpoint_url or "https://s3.amazonaws.com").hostname or ""
    price, whose = SPACES if host.endswith("digitaloceanspaces.com") else AMAZON
    gb = [part / 1e9 for part in size]
    if host.endswith(("digitaloceanspaces.com", "amazonaws.com")):
        return _line("storage", (gb[0] * price, gb[1] * price), "USD", f"{how} at ${price} a GB in a month ({whose}).")
    said = f"{how}; what {host} costs is not known: at most ${price} a GB in a month, as {whose}"
    return _line("storage", (0, gb[1] * price), "USD", f"{said}.")


# -- hours


def hours_line(
    documents: int,
    pages: Pages,
    known: Measured,
    conf: Settings,
    machines: Machines | None,
    claude_usd: Range,
    left: timedelta | None,
) -> QuoteLine:
    """How long it takes: reading, and waiting for message batches and for the next day's budget.

    Args:
        claude_usd: what is expected to be spent at most, and what the cap holds for it.
    """
    timed = [(one.pages, one.seconds) for one in known.done if one.seconds is not None]
    if machines is not None:
        low, high, workers = machines.page_s[0] / machines.number, machines.page_s[1], machines.number
        more = BOOT_S
        how = f"{machines.how.split(' at $')[0]}, on one to {workers} machines"
    elif len(timed) >= ENOUGH:
        workers = conf.cpu_workers
        each = sorted(seconds / count for count, seconds in timed)
        mean = sum(seconds for _, seconds in timed) / sum(count for count, _ in timed)
        low, high = (min(mean, each[len(each) // 4]) / workers, max(mean, each[-1 - len(each) // 10]) * SPARE / workers)
        more = (0.0, 60.0)
        how = f"{len(timed)} documents done here took {mean:.2f} s a page, {_workers(workers)}"
    else:
        workers = conf.cpu_workers
        low, high, more = PAGE_S[0] / workers, PAGE_S[1] / workers, (0.0, 60.0)
        how = f"{PAGE_S[0]} s for a page with a text layer to {PAGE_S[1]:.0f} s for a scan, {_workers(workers)}"
    through = documents / DOCUMENTS_PER_S
    hours = [max(pages.low * low, through) + more[0], pages.high * high + through + more[1]]
    hours = [seconds / HOUR for seconds in hours]
    if conf.analyst_in_use == "claude" and documents:
        if conf.claude_batches == "low":
            room = min(claude_usd[1], conf.claude_daily_usd) / bounds_usd(documents, pages, conf)[0]
            batches = math.ceil(documents / max(1.0, room))
            hours = [hours[0] + BATCH_HOURS[0] * batches, hours[1] + BATCH_HOURS[1] * batches]
            how += (
                f", and up to an hour for {'a message batch' if batches == 1 else f'each of {batches} message batches'}"
            )
            how += ", which may take 24" + ("; a higher cap makes fewer of them" if batches > 1 else "")
        days = int(claude_usd[0] / conf.claude_daily_usd)
        if days:
            hours[1] += 24 * days
            how += f"; Claude may cost ${conf.claude_daily_usd:.2f} a day, so it may wait for {_days(days)}"
    if left is not None:
        there = max(0.0, left.total_seconds() / HOUR)
        how += f"; until the deadline there are {there:.1f} hours"
        how += ": what is not done by then is left" if hours[1] > there else ""
    return _line("hours", (hours[0], hours[1]), "hours", f"{how}.")


def _line(what: str, found: Range, unit: str, how: str) -> QuoteLine:
    return QuoteLine(what=what, low=found[0], high=max(found), unit=unit, how=how)


def _workers(count: int) -> str:
    return "one worker" if count == 1 else f"{count} workers at once"


def _days(count: int) -> str:
    return "the next day" if count == 1 else f"{count} days"


def _size(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:,.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} GB"
