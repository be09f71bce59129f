"""Documents go through real workers while a seeded schedule breaks what it can; at the end everything is counted.

    python -m tests.faults.chaos [--documents 300] [--seeds 1-20]     (make chaos)

Processes and whole machines are killed, redis is restarted, killed and wiped, the way to it is cut and freezes, bucket
and records stop answering. Leases are 2 s instead of 40, so that a seed takes a minute. Prints for each seed faults,
what was delivered again, and the time lost against a run without faults; exits with 1 if anything was lost or doubled.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from aseagi_tasks.documents import FINAL
from aseagi_tasks.reports.certificate import Certificate
from aseagi_tasks.stages.certify import certify
from tests.faults.balance import Balance, balance
from tests.faults.plant import QUICK, Plant, filing, scan, until

#: One document in so many is a picture.
SCANS = 15
QUEUES = "cpu,gpu,claude"


class Run(NamedTuple):
    """How a seed went."""

    balance: Balance
    seconds: float
    faults: Counter[str]
    #: stages begun beyond the first time
    again: int
    resumed: int
    #: from the loss of each machine to each of its documents running elsewhere
    gaps_s: list[float]
    #: workers that left though nobody killed them
    crashed: int
    #: what the completeness certificate of these documents says
    certificate: Certificate

    @property
    def is_right(self) -> bool:
        """Whether all came out, once, and the certificate says so."""
        return self.balance.is_even and not self.balance.set_aside and self.certificate.totals.balanced


class Chaos:
    """One plant with two machines, and the hand that breaks it."""

    def __init__(self, plant: Plant, seed: int) -> None:
        self.plant, self.dice = plant, random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.losses: list[tuple[float, str]] = []
        self.crashed = 0
        self.machines: list[str] = []
        self.number = 0
        plant.worker("control", queues="control", arguments="-P threads -c 1 --loglevel WARNING")
        for _ in range(2):
            self.rent()

    def rent(self) -> None:
        """A machine that was not there before: nobody knows its name."""
        self.number += 1
        name = f"machine{self.number}"
        self.plant.worker(name, queues=QUEUES, arguments="-c 2")
        self.machines.append(name)

    def look_after(self) -> None:
        """What a supervisor does: start again what left."""
        for name in [*self.machines, "control"]:
            if self.plant.processes[name].poll() is not None:
                self.crashed += 1
                if name == "control":
                    self.plant.worker("control", queues="control", arguments="-P threads -c 1 --loglevel WARNING")
                else:
                    self.machines.remove(name)
                    self.rent()

    def break_something(self) -> None:
        kinds: Sequence[tuple[Callable[[], None], int]] = [
            *((self.kill_process, 4), (self.lose_machine, 2), (self.restart_redis, 1), (self.kill_redis, 1)),
            *((self.wipe_redis, 1), (self.cut, 2), (self.freeze, 1), (self.no_storage, 2), (self.no_records, 1)),
        ]
        (act,) = self.dice.choices([kind for kind, _ in kinds], [weight for _, weight in kinds])
        self.faults[act.__name__.replace("_", " ")] += 1
        act()

    def kill_process(self) -> None:
        children = self.plant.children(self.dice.choice(self.machines))
        if children:
            with suppress(ProcessLookupError):
                os.kill(self.dice.choice(children), signal.SIGKILL)

    def lose_machine(self) -> None:
        name = self.machines.pop(self.dice.randrange(len(self.machines)))
        self.plant.lose(name)
        self.losses.append((time.time(), f"{name}@test"))
        self.rent()

    def restart_redis(self) -> None:
        self.plant.stop_redis()
        time.sleep(self.dice.uniform(0, 1))
        self.plant.start_redis()

    def kill_redis(self) -> None:
        self.plant.stop_redis(signal.SIGKILL)
        time.sleep(self.dice.uniform(0, 1))
        self.plant.start_redis()

    def wipe_redis(self) -> None:
        self.plant.wipe_redis()

    def cut(self) -> None:
        self.plant.proxy.cut()
        time.sleep(self.dice.uniform(0.2, 2))
        self.plant.proxy.mend()

    def freeze(self) -> None:
        self.plant.proxy.freeze()

    def no_storage(self) -> None:
        self._without("storage", "503 Slow Down")

    def no_records(self) -> None:
        self._without("records", "")

    def _without(self, what: str, text: str) -> None:
        self.plant.order(what, text)
        time.sleep(self.dice.uniform(0.3, 1.5))
        self.plant.end_order(what)

    def gaps(self) -> list[float]:
        """Seconds from each loss until each document that it interrupted ran again."""
        found = []
        for job in self.plant.records.jobs(limit=100_000):
            events = [event for event in self.plant.records.events(job.job_id) if event.kind in ("started", "finished")]
            for (when, worker), (at, event) in ((loss, pair) for loss in self.losses for pair in enumerate(events)):
                moment = datetime.fromtimestamp(when, UTC)
                following = events[at + 1 :]
                if event.worker != worker or event.kind != "started" or event.at > moment:
                    continue
                if event.stage == "record" and not following:  # its end is that of the job
                    continue
                if following and following[0].at > moment and following[0].kind == "started":
                    found.append((following[0].at - moment).total_seconds())
        return found


def run(seed: int, documents: int, *, broken: bool = True, wait_s: float = 600) -> Run:
    """One seed: hand everything in, break things until all have ended, count."""
    dice = random.Random(seed)
    with (
        tempfile.TemporaryDirectory(prefix="aseagi-chaos-", ignore_cleanup_errors=True) as folder,
        Plant(Path(folder), ASEAGI_MAX_LIVE="40") as plant,
    ):
        files = [
            scan(plant.home, f"scan-{n}") if n % SCANS == 7 else filing(plant.home, f"filing-{n}")
            for n in range(documents)
        ]
        chaos = Chaos(plant, seed)
        until(lambda: all(plant.is_ready(name) for name in chaos.machines), plant.log)
        began = time.monotonic()
        left = {plant.submit(path, dice.choice(("high", "normal", "low"))) for path in files}  # type: ignore[arg-type]
        ids, next_fault = sorted(left), time.monotonic() + 1
        while left:
            left = {job_id for job_id in left if plant.job(job_id).status not in FINAL}
            chaos.look_after()
            # a quick machine is done before the clock strikes twice: at each quarter something breaks all the same
            behind = len(ids) - len(left) >= (chaos.faults.total() + 1) * len(ids) // 4
            if broken and left and (behind or time.monotonic() > next_fault):
                chaos.break_something()
                next_fault = time.monotonic() + chaos.dice.uniform(1, 4)
            if time.monotonic() > began + wait_s:
                break
            time.sleep(0.1)
        seconds = time.monotonic() - began
        time.sleep(0.5)  # for the last write behind the last end
        started = Counter((job_id, stage) for job_id in ids for stage in plant.events(job_id, "started"))
        again = sum(count - 1 for count in started.values())
        resumed = sum(len(plant.events(job_id, "resumed")) for job_id in ids)
        certificate, _ = certify(
            (plant.job(job_id) for job_id in ids),
            f"seed {seed}",
            records=plant.records,
            storage=plant.bucket,
            bucket="chaos",
            key=None,
            now=datetime.now(UTC),
        )
        gaps_s, even = chaos.gaps(), balance(plant, ids)
        result = Run(even, seconds, chaos.faults, again, resumed, gaps_s, chaos.crashed, certificate)
        if not result.is_right:
            for job_id in [*result.balance.lost, *result.balance.twice, *result.balance.unfinished][:5]:
                print(plant.job(job_id), *plant.records.events(job_id), sep="\n  ", file=sys.stderr)
        return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=300)
    parser.add_argument("--seeds", default="1-20", help="first and last")
    arguments = parser.parse_args()
    first, last = map(int, arguments.seeds.split("-"))
    calm = run(0, arguments.documents, broken=False)
    print(f"{arguments.documents} documents without faults: {calm.seconds:.1f} s; leases {QUICK['ASEAGI_LEASE_S']} s")
    wrong, gaps = 0, []
    for seed in range(first, last + 1):
        one = run(seed, arguments.documents)
        wrong += not one.is_right
        gaps += one.gaps_s
        names = ", ".join(f"{count} {name}" for name, count in sorted(one.faults.items()))
        whole = one.balance
        print(
            f"seed {seed}: completed {whole.completed}, set aside {whole.set_aside}, lost {len(whole.lost)},"
            f" twice {len(whole.twice)}, unfinished {len(whole.unfinished)}, leased {len(whole.leased)}; "
            f"certificate {'balances' if one.certificate.totals.balanced else 'DOES NOT BALANCE'}; "
            f"{one.seconds:.1f} s, {max(0.0, 1 - calm.seconds / one.seconds):.0%} of it lost; "
            f"{one.again} stages again, {one.resumed} resumed, {one.crashed} workers left by themselves; "
            f"{sum(one.faults.values())} faults: {names}",
            flush=True,
        )
    if gaps:
        print(f"from a machine's loss to its document running again: {max(gaps):.1f} s at most, {len(gaps)} documents")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
