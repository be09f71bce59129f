"""A day in the life of the bot: three people, forty files, killed twice; every file answered once, in order."""

from __future__ import annotations

import signal
import time
import uuid
from pathlib import Path

import pytest

from aseagi_tasks import services
from aseagi_tasks.doors.stack import Stack
from tests.chain.telegram_bot import ANA, BO, OPERATOR, BotProcess, answered, is_final, people, until
from tests.chain.telegram_papers import blank, filing, locked, photograph, scan
from tests.conftest import _CORPUS
from tests.servers.telegram import TelegramServer

WORDS = ("ONE", "TWO", "THREE")


class Day:
    """What was sent: for each file or album the first message's id, and what its answer must say."""

    def __init__(self, server: TelegramServer) -> None:
        self.server = server
        self.expected: dict[int, str] = {}
        self.albums: list[int] = []
        self.files = 0

    def file(self, user: int, content: bytes, name: str, says: str = "motion", **more: int) -> None:
        self.expected[self.server.send(user, content, name, **more)] = says  # type: ignore[arg-type]
        self.files += 1

    def album(self, user: int) -> None:
        """Three photographs sent together."""
        name, first = uuid.uuid4().hex, 0
        for word in WORDS:
            sent = self.server.photograph(user, photograph(f"PAGE {word}", name[:8]), album=name)
            first = first or sent
            self.files += 1
        self.expected[first] = "3 p"
        self.albums.append(first)

    @property
    def done(self) -> int:
        """Files that have their answer."""
        return sum(any(map(is_final, self.server.answers(sent))) for sent in self.expected)


def test_a_day_in_the_life(stack: Stack, samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    people()
    users, stranger, began = (OPERATOR, ANA, BO), 4_100_000_000 + uuid.uuid4().int % 10**6, time.monotonic()
    filings = [filing() for _ in range(21)]
    court = sorted((_CORPUS / "court").glob("*.pdf"), key=lambda path: path.stat().st_size)
    with TelegramServer() as server:
        server.burst, server.per_second = 8, 4
        day, log = Day(server), tmp_path / "bot.log"

        with BotProcess(server, log) as bot:
            server.send(stranger, filings[0], "let me in.pdf")
            for at, content in enumerate(filings[:8]):
                day.file(users[at % 3], content, f"filing {at}.pdf")
            day.album(ANA)
            day.file(BO, locked(), "locked.pdf", "⚠")
            day.file(ANA, blank(), "blanco.pdf", "No hay nada")
            until(lambda: day.done >= 3, lambda: bot.said)
            bot.end(signal.SIGKILL)

        for at, content in enumerate(filings[8:16]):  # while nobody is there
            day.file(users[at % 3], content, f"filing {8 + at}.pdf")
        day.album(BO)
        day.file(BO, b"%PDF-1.4", "exhibits.pdf", "31 MB", size=31_000_000)
        done = day.done
        with BotProcess(server, log) as bot:
            until(lambda: day.done >= done + 4, lambda: bot.said)
            bot.end(signal.SIGKILL)

        for at, content in enumerate(filings[16:]):
            day.file(users[at % 3], content, f"filing {16 + at}.pdf")
        for at in range(5):  # sent before, by somebody else
            day.file(users[(at + 1) % 3], filings[at], f"copy {at}.pdf")
        day.file(OPERATOR, photograph("A LETTER", uuid.uuid4().hex[:8], form="HEIF"), "IMG_1.HEIC", "document")
        day.file(OPERATOR, b"<html>a page</html>", "page.pdf", "⚠")
        day.file(BO, (samples / "01-motion.pdf").read_bytes(), "01-motion.pdf")
        day.file(BO, (samples / "02-order.pdf").read_bytes(), "02-order.pdf", "order")
        day.file(ANA, court[0].read_bytes() if court else filing(), "real.pdf", "p")
        server.send(stranger, filings[1], "let me in again.pdf")
        with BotProcess(server, log) as bot:
            until(lambda: day.done == len(day.expected) and server.pending == 0, lambda: (_missing(day), bot.said))
            assert bot.end(signal.SIGTERM) == 0

        assert day.files == 40
        for sent, says in day.expected.items():
            final = [answer for answer in server.answers(sent) if is_final(answer)]
            assert len(final) == 1 and says in final[0].text, (says, [one.text for one in server.answers(sent)])
        for sent in day.albums:
            (answer,) = (one for one in server.answers(sent) if is_final(one))
            document = services.records().document(answer.keyboard[0][2]["callback_data"][2:])
            pages = services.storage().get(f"{document.processed}/ocr.txt").decode().split("\f")
            assert [word in page for word, page in zip(WORDS, pages, strict=True)] == [True] * 3
        assert [one.text for one in server.to(stranger)] == [server.to(stranger)[0].text]
        assert services.records().open_answers() == [] and services.records().open_updates() == []
        # a bot that is killed between Telegram's answer and the note of it begins that one message again
        messages = sum(len(server.answers(sent)) for sent in day.expected)
        limited = sum(status == 429 for _method, _chat, status in server.calls)
        assert messages <= len(day.expected) + 2
    with capsys.disabled():
        print(
            f"\n  40 files of 3 people, {len(day.expected)} documents, bot killed twice: {messages} messages,"
            f" each document with one last form; {limited} calls paced by 429; {time.monotonic() - began:.0f} s"
        )


def test_time_from_message_to_answer_by_stage(
    stack: Stack, tmp_path: Path, capsys: pytest.CaptureFixture[str], samples: Path
) -> None:
    """A scanned letter of one page on an idle stack; printed, not judged: machines differ."""
    people()
    content = scan(samples)
    with TelegramServer() as server, BotProcess(server, tmp_path / "bot.log"):
        answered(server, server.send(BO, filing(), "warm.pdf"))  # every process has loaded what it needs
        began = time.time()
        answer = answered(server, server.send(BO, content, "letter.pdf"))
    document_id = answer.button("Text").partition(":")[2]
    job = services.records().jobs(document_id=document_id)[0]
    events = services.records().events(job.job_id)
    finished = {event.stage: event for event in events if event.kind in ("finished", "completed")}
    assert job.finished_at is not None and set(finished) >= {"fetch", "rasterize", "ocr", "analyze", "upload"}
    rows = [
        ("answered that it came", answer.forms[0][0] - began),
        ("taken in and queued", job.created_at.timestamp() - began),
    ]
    rows += [(stage, event.at.timestamp() - began) for stage, event in finished.items() if stage]
    rows += [("recorded", job.finished_at.timestamp() - began), ("final answer", answer.forms[-1][0] - began)]
    assert [moment for _, moment in rows] == sorted(moment for _, moment in rows)
    with capsys.disabled():
        print()
        before = 0.0
        for what, moment in rows:
            print(f"  {what:24} {moment:6.2f} s  (+{moment - before:.2f})")
            before = moment


def _missing(day: Day) -> list[str]:
    """What has no answer yet."""
    open_ = [sent for sent in day.expected if not any(map(is_final, day.server.answers(sent)))]
    return [f"{sent} {day.expected[sent]}: {[one.text for one in day.server.answers(sent)]}" for sent in open_]
