"""Realistic legal documents with known truth, made on the spot.

Ten files of the kinds that come in: typed filings, scans, a fax, a form, a photograph, a mixed bundle. Everything in
them is made up. The same machine makes the same bytes each time, so a sample processed once is known the next time.

    papers      the catalogue: what each document is, and what is true about it
    filings     what the court filings say         paperwork   letter, settlement, police report, hospital record
    exhibits    the declaration of twelve pages    layouts     pleading paper, captions, forms, tables
    drawing     a sheet, and its PDF               fonts       what it is set in
    scanning    skew, noise, fax, photograph       binding     leaves into PDF, TIFF, JPEG, PNG
    truth       what is known about a sample

Nothing heavy is imported until a sample is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from aseagi_tasks.errors import ConfigError
from aseagi_tasks.samples.truth import Truth

__all__ = ["make_samples", "read_truth"]


def make_samples(folder: Path, progress: Callable[[str], None] | None = None) -> list[Path]:
    """Make the samples that are not there yet.

    A document's truth goes to ``truth/<its name>.json`` and is written last: where it is, the document is complete.

    Args:
        folder: made if it is not there; only documents lie in it directly.
        progress: called with one sentence per document that is made.
    Returns:
        All documents, in order of name, whether made now or before.
    Raises:
        ConfigError: the folder cannot be written to, or a font or poppler is missing.
    """
    from aseagi_tasks.samples.papers import PAPERS

    with _writing(folder):
        (folder / "truth").mkdir(parents=True, exist_ok=True)
        missing = [paper for paper in PAPERS if not _is_complete(folder / paper.file)]
    if missing:
        from aseagi_tasks.samples.fonts import find_fonts

        fonts = find_fonts()
        for paper in missing:
            leaves = paper.leaves(fonts)
            document = paper.bind(leaves)
            with _writing(folder):
                _write(folder / paper.file, document)
                _write(_truth_path(folder / paper.file), paper.truth(leaves).model_dump_json(indent=2).encode() + b"\n")
            if progress is not None:
                progress(f"{paper.file}: {paper.facts.title} ({len(leaves)} page{'s' if len(leaves) > 1 else ''})")
    return [folder / paper.file for paper in PAPERS]


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise ConfigError(str(folder), f"samples cannot be made there: {reason}.", "Name another folder.") from exc


def read_truth(document: Path) -> Truth:
    """What is known about a sample, by the document's path.

    Raises:
        FileNotFoundError: nothing is known about it.
    """
    return Truth.model_validate_json(_truth_path(document).read_bytes())


def _truth_path(document: Path) -> Path:
    return document.parent / "truth" / f"{document.stem}.json"


def _is_complete(document: Path) -> bool:
    """Whether the document is there and its truth can be read."""
    try:
        return document.stat().st_size > 0 and read_truth(document).file == document.name
    except (FileNotFoundError, ValidationError):
        return False


def _write(path: Path, data: bytes) -> None:
    """Under a hidden name first, so that nobody finds half a file."""
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(data)
    part.replace(path)
