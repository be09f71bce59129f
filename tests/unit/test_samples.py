"""The samples are what their truth says, and making them twice changes nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from aseagi_tasks.errors import ConfigError
from aseagi_tasks.samples import make_samples, read_truth
from aseagi_tasks.samples.fonts import FAMILIES, Family, find_fonts
from aseagi_tasks.samples.papers import PAPERS
from aseagi_tasks.samples.truth import Truth

#: The closed vocabulary of document types.
TYPES = (
    *("motion", "order", "complaint", "petition", "answer", "declaration", "affidavit", "brief", "opinion", "judgment"),
    *("notice", "subpoena", "summons", "letter", "police_report", "form", "exhibit", "transcript", "agreement"),
    *("invoice", "medical_record", "proof_of_service", "other"),
)
FILES = [paper.file for paper in PAPERS]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("samples") / "new" / "folder"
    said: list[str] = []
    made = make_samples(folder, said.append)
    assert [path.name for path in made] == FILES
    assert len(said) == len(FILES)
    return folder


@pytest.fixture
def copy(samples: Path, tmp_path: Path) -> Path:
    """A folder of samples that a test may spoil."""
    return Path(shutil.copytree(samples, tmp_path / "copy"))


def pdf_texts(path: Path) -> list[str]:
    """Each page's text layer."""
    done = subprocess.run(["pdftotext", str(path), "-"], capture_output=True, text=True, check=True)
    return done.stdout.split("\f")[:-1]


def words(text: str) -> Counter[str]:
    return Counter(text.split())


def refuse(_: str) -> None:
    pytest.fail("made again what was there")


def test_folder_holds_documents_and_their_truth_only(samples: Path) -> None:
    assert sorted(path.name for path in samples.iterdir()) == sorted([*FILES, "truth"])
    assert sorted(path.stem for path in (samples / "truth").iterdir()) == sorted(Path(file).stem for file in FILES)
    assert sum(path.stat().st_size for path in samples.rglob("*")) < 6_000_000


def test_same_bytes_in_another_process(samples: Path, tmp_path: Path) -> None:
    code = "import sys, pathlib; from aseagi_tasks.samples import make_samples; make_samples(pathlib.Path(sys.argv[1]))"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    for path in samples.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / path.relative_to(samples)).read_bytes(), path.name


def test_second_call_makes_nothing(copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    assert make_samples(copy, refuse) == [copy / file for file in FILES]
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def spoil_interrupted(folder: Path) -> None:
    document = folder / "02-order.pdf"
    (folder / ".02-order.pdf.part").write_bytes(document.read_bytes()[:1000])
    document.unlink()
    (folder / "truth" / "02-order.json").unlink()


def spoil_before_truth(folder: Path) -> None:
    (folder / "02-order.pdf").write_bytes(b"%PDF-1.4 half")
    (folder / "truth" / "02-order.json").unlink()


def spoil_truth(folder: Path) -> None:
    (folder / "truth" / "02-order.json").write_text('{"file": "02-or')


def spoil_document(folder: Path) -> None:
    (folder / "02-order.pdf").unlink()


@pytest.mark.parametrize("spoil", [spoil_interrupted, spoil_before_truth, spoil_truth, spoil_document])
def test_what_is_incomplete_is_made_again(samples: Path, copy: Path, spoil: Callable[[Path], None]) -> None:
    spoil(copy)
    said: list[str] = []
    make_samples(copy, said.append)
    assert [text.split(":")[0] for text in said] == ["02-order.pdf"]
    for path in samples.rglob("*.*"):
        assert (copy / path.relative_to(samples)).read_bytes() == path.read_bytes()
    assert not list(copy.rglob("*.part"))


def test_a_file_in_the_folders_place_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    for folder in (tmp_path / "taken", tmp_path / "taken" / "below"):
        with pytest.raises(ConfigError, match="samples cannot be made there: Not a directory"):
            make_samples(folder)


def test_without_any_font_says_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fonts-liberation"):
        find_fonts((tmp_path,))


def test_without_poppler_says_the_cure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="poppler-utils"):
        make_samples(tmp_path)


def test_importing_samples_is_cheap() -> None:
    code = "import sys, aseagi_tasks.samples; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "cv2", "reportlab", "PIL", "pikepdf", "pdf2image"} & set(loaded)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_pages_fit_in_every_typeface(family: Family) -> None:
    try:
        fonts = find_fonts(families=(family,))
    except ConfigError:
        pytest.skip(f"{family.name} is not installed")
    for paper in PAPERS:
        assert paper.leaves(fonts), paper.file  # a line that does not fit is a ValueError


@pytest.mark.parametrize("file", FILES)
def test_truth_is_complete(samples: Path, file: str) -> None:
    truth = read_truth(samples / file)
    assert truth.file == file
    assert truth.document_type in TYPES
    assert truth.title and truth.parties
    assert [page.number for page in truth.pages] == list(range(1, len(truth.pages) + 1))
    for page in truth.pages:
        assert (page.text == "") == (page.kind == "blank")


@pytest.mark.parametrize("file", FILES)
def test_facts_are_printed_on_the_pages(samples: Path, file: str) -> None:
    truth = read_truth(samples / file)
    text = " ".join(" ".join(page.text for page in truth.pages).upper().split())
    assert truth.case_number is None or truth.case_number.upper() in text
    for party in truth.parties:
        assert party.name.upper() in text
    for phrase in (truth.title, truth.court or ""):
        assert set(re.findall(r"\w+", phrase.upper())) <= set(re.findall(r"\w+", text))
    for day in (truth.document_date, truth.filed_date):
        assert day is None or any(form in text for form in ways_to_print(day))


def ways_to_print(day: date) -> list[str]:
    return [f"{day:%B} {day.day}, {day.year}".upper(), f"{day:%m/%d/%Y}", f"{day:%m/%d/%y}"]


@pytest.mark.parametrize("file", [file for file in FILES if file.endswith(".pdf")])
def test_text_layers_are_those_that_the_truth_tells(samples: Path, file: str) -> None:
    truth = read_truth(samples / file)
    layers = pdf_texts(samples / file)
    assert len(layers) == len(truth.pages)
    for layer, page in zip(layers, truth.pages, strict=True):
        lines = [" ".join(line.split()) for line in layer.splitlines() if line.strip()]
        if page.kind == "text-layer":
            assert words(layer) == words(page.text)
        elif page.kind == "stamped-scan":
            assert lines == page.text.splitlines()[:1]
        else:
            assert lines == []


def test_kinds_of_pages(samples: Path) -> None:
    def kinds(file: str) -> list[str]:
        return [page.kind for page in read_truth(samples / file).pages]

    assert kinds("06-stamped-filing.pdf") == ["stamped-scan"] * 3
    assert kinds("08-duplex.pdf") == ["scan", "blank", "scan", "blank"]
    assert len(kinds("09-exhibits.pdf")) == 12
    assert set(kinds("09-exhibits.pdf")) == {"text-layer", "scan", "blank"}


def test_images_are_what_scanners_and_telephones_write(samples: Path) -> None:
    from PIL import Image

    with Image.open(samples / "04-fax.tif") as fax:
        assert (fax.n_frames, fax.mode, fax.info["compression"]) == (2, "1", "group4")
    with Image.open(samples / "07-photograph.jpg") as photograph:
        assert photograph.mode == "RGB" and "dpi" not in photograph.info and not photograph.getexif()
    with Image.open(samples / "10-proof-of-service.png") as page:
        assert page.mode == "P"


def test_turned_as_told_the_fax_can_be_read(samples: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pytesseract
    from PIL import Image

    monkeypatch.setenv("OMP_THREAD_LIMIT", "1")
    truth = read_truth(samples / "04-fax.tif")
    assert {page.rotation_applied for page in truth.pages} == {180, 270}
    with Image.open(samples / "04-fax.tif") as fax:
        for page in truth.pages:
            fax.seek(page.number - 1)
            upright = fax.convert("L").rotate(-page.rotation_applied, expand=True)
            read = words(pytesseract.image_to_string(upright))
            assert (read & words(page.text)).total() > 0.75 * words(page.text).total()


def test_truth_survives_a_round_trip(samples: Path) -> None:
    for file in FILES:
        truth = read_truth(samples / file)
        assert Truth.model_validate_json(truth.model_dump_json()) == truth
