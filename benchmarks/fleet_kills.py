"""Documents flow through rented machines while the control worker is killed at random moments.

Runs of 40 documents from nothing rented to nothing rented, one after another, until the control worker was killed
``--kills`` times (20); after every fourth kill a machine that works is taken away too, as one that was outbid. Claims:
every document is completed; no instance is there for longer than two minutes of which the records know nothing; none is
alive at the end; the ledger is the provider's true bill to the cent once it was compared with the charges. Before, it
is too high by what a machine that was taken away is thought to run until the next tick sees it: at $3.60/h, ten seconds
are a cent.

    python benchmarks/fleet_kills.py [--kills 20] [--seed 1]
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.servers.fleet_stack import FleetStack
from tests.servers.vast import Machine

DOCUMENTS = 40


def main() -> int:
    """Print what happened; 1 if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng, began, runs = random.Random(options.seed), time.monotonic(), 0
    machines = [Machine(number, gpu_usd_per_hour=3.6, boot_s=1.0) for number in range(1, 5)]
    with TemporaryDirectory(prefix="aseagi-kills-") as folder, FleetStack(Path(folder), machines) as stack:
        stopping, taken = threading.Event(), list[int]()

        def kill() -> None:
            while stack.kills < options.kills and not stopping.wait(rng.uniform(0, 4)):
                ticks, killed_at = stack.records.ticks(1), stack.killed_at
                if killed_at and (not ticks or ticks[0].at < killed_at):
                    continue  # the new one has not come to work yet
                if stack.server.alive() or stack.records.instances() or stack.redis.llen("cpu"):
                    stack.kill_control()
                    working = [rented for rented in stack.server.alive() if rented.status == "running"]
                    if working and stack.kills % 4 == 0:
                        stack.server.preempt(rng.choice(working).number)
                        taken.append(stack.kills)

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        try:
            while stack.kills < options.kills or not runs:
                following = stack.queue(stack.documents(DOCUMENTS, first=DOCUMENTS * runs))
                stack.until(lambda f=following: f.poll() is not None, 240, "the documents are not read")
                stack.until(stack.is_over, 120, "something is still rented")
                runs += 1
                print(f"run {runs}: over, {stack.kills} kills so far", flush=True)
        finally:
            stopping.set()
            killer.join(10)
        completed, at_once, bill = stack.ledger.counts()["completed"], stack.booked(), stack.server.bill()
        stack.reconcile()
        booked = stack.booked()
        money = f"ledger ${booked:.4f} (${at_once:.4f} before it was compared), true bill ${bill:.4f}"
        rented, cent = len(stack.server.rented), 0.01
        claims = {
            f"{completed} of {runs * DOCUMENTS} documents completed": completed == runs * DOCUMENTS,
            f"longest without a row {stack.without_row_s:.1f} s of 120": stack.without_row_s < 120,
            f"{len(stack.server.alive())} of {rented} instances alive": not stack.server.alive(),
            money: abs(booked - bill) < cent,
            f"booked no less than was billed, and ${at_once - bill:.4f} more": at_once > bill - cent,
        }
        print(
            f"{stack.kills} kills and {len(taken)} machines taken away in {runs} runs, {time.monotonic() - began:.0f} s"
        )
        for claim, holds in claims.items():
            print(f"  {'holds' if holds else 'DOES NOT HOLD'}: {claim}")
        return 0 if all(claims.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
