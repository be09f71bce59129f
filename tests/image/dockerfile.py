"""Reads our Dockerfile, as far as we use the language, so that tests go by it."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]


class Copy(NamedTuple):
    """``stage`` is empty where the sources lie in the project."""

    stage: str
    sources: list[str]
    target: str


class Stage(NamedTuple):
    name: str
    base: str
    steps: list[tuple[str, str]]  # instruction, rest of the line

    @property
    def copies(self) -> list[Copy]:
        found = []
        for instruction, rest in self.steps:
            if instruction == "COPY":
                words = shlex.split(rest)
                stage = words.pop(0).removeprefix("--from=") if words[0].startswith("--from=") else ""
                found.append(Copy(stage, words[:-1], words[-1]))
        return found


def stages() -> list[Stage]:
    text = (ROOT / "worker_image" / "Dockerfile").read_text()
    text = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    made: list[Stage] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, _, rest = line.partition(" ")
        if instruction == "FROM":
            base, _, name = rest.partition(" AS ")
            made.append(Stage(name, base, []))
        elif made:
            made[-1].steps.append((instruction, rest))
    return made


def environment() -> dict[str, str]:
    """ENV of the last stage."""
    lines = [rest for instruction, rest in stages()[-1].steps if instruction == "ENV"]
    return dict(word.split("=", 1) for line in lines for word in shlex.split(line))
