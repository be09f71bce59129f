"""A Droplet and rented machines as network namespaces: own loopbacks, and one wire between the Droplet and each."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache

import pytest

_numbers = itertools.count()


@cache
def _why_not() -> str | None:
    """Why namespaces cannot be made here."""
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    name = f"aseagi-{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True)
    if made.returncode:
        return f"no network namespaces here: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", name])
    return None


class Network:
    """``with Network(2) as network``: the Droplet is 10.77.N.1 on the wire to instance N (from 1), which is 10.77.N.2.

    Skips the test where namespaces cannot be made.
    """

    def __init__(self, instances: int) -> None:
        if (why := _why_not()) is not None:
            pytest.skip(why)
        stem = f"aseagi-{os.getpid()}-{next(_numbers)}"
        self.droplet = f"{stem}-d"
        self.instances = [f"{stem}-{number}" for number in range(1, instances + 1)]

    def __enter__(self) -> Network:
        for name in (self.droplet, *self.instances):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        for number, name in enumerate(self.instances, 1):
            _ip("-n", self.droplet, "link", "add", f"to{number}", "type", "veth", "peer", "name", "wire", "netns", name)
            for namespace, device, end in ((self.droplet, f"to{number}", 1), (name, "wire", 2)):
                _ip("-n", namespace, "address", "add", f"10.77.{number}.{end}/24", "dev", device)
                _ip("-n", namespace, "link", "set", device, "up")
        return self

    def __exit__(self, *_error: object) -> None:
        for name in (self.droplet, *self.instances):
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)

    @staticmethod
    def inside(namespace: str, command: Sequence[str]) -> list[str]:
        """The command line that runs a command in a namespace."""
        return ["ip", "netns", "exec", namespace, *command]

    def freeze(self, number: int) -> None:
        """Let everything between the Droplet and an instance vanish, both ways; nobody is told."""
        nowhere = ("lladdr", "02:00:00:00:00:99", "nud", "permanent")
        _ip("-n", self.droplet, "neigh", "replace", f"10.77.{number}.2", "dev", f"to{number}", *nowhere)
        _ip("-n", self.instances[number - 1], "neigh", "replace", f"10.77.{number}.1", "dev", "wire", *nowhere)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
