"""Places in a process that several stages share."""

from __future__ import annotations

import threading
import time

from aseagi_tasks.leases import Room


def test_suspect_is_alone_and_others_come_in_together() -> None:
    room, inside, seen = Room(), [], []  # type: Room, list[str], list[tuple[str, ...]]

    def stay(name: str, alone: bool) -> None:
        with room.enter(alone=alone):
            inside.append(name)
            time.sleep(0.02)
            seen.append(tuple(inside))
            inside.remove(name)

    threads = [threading.Thread(target=stay, args=(f"{kind}{n}", kind == "s")) for n in range(12) for kind in "gs"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(seen) == 24
    assert all(len(together) == 1 for together in seen if any(name.startswith("s") for name in together))
    assert any(len(together) > 1 for together in seen)
