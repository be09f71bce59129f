"""What every command prints with, and options that several of them take."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from aseagi_tasks.documents import Priority

#: Wide enough for a table where nobody looks at a window.
_WIDTH = None if sys.stdout.isatty() else 150
out, err = Console(width=_WIDTH), Console(stderr=True)

Level = Annotated[Priority, typer.Option(help="high goes before normal before low.")]
Engine = Annotated[
    str | None,
    typer.Option("--ocr", metavar="ENGINE", help="auto, tesseract, trocr, hybrid or trocr:CHECKPOINT; else as set."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for other programs.")]


def print_json(value: Any) -> None:
    """Print a value as JSON, and nothing else."""
    json.dump(value, sys.stdout, indent=2, ensure_ascii=False, default=str)
    sys.stdout.write("\n")
