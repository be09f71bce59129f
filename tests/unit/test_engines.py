"""Which engine reads a document: by setting, by document, by what the machine has."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aseagi_tasks import services
from aseagi_tasks.errors import ConfigError
from aseagi_tasks.reading.hybrid import Hybrid
from aseagi_tasks.reading.tesseract import Tesseract
from aseagi_tasks.reading.trocr import TrOCR
from aseagi_tasks.settings import CLEANING, Settings

SMALL = str(Path(__file__).parents[2] / "models" / "lines")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file that stands for the driver's; without it there is no GPU."""
    monkeypatch.setattr(services, "GPU_DRIVER", tmp_path / "nvidiactl")
    return tmp_path / "nvidiactl"


def test_auto_is_trocr_only_with_a_gpu_and_the_weights(gpu: Path) -> None:
    assert services.ocr_engine("auto")[0] == "tesseract"
    gpu.touch()
    assert services.ocr_engine("auto")[0] == "tesseract", "there are no weights of the default checkpoint here"


def test_auto_finds_weights_in_folders_and_in_the_cache(
    gpu: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gpu.touch()
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    assert not services.has_weights("microsoft/trocr-base-handwritten")
    snapshot = tmp_path / "hub" / "models--microsoft--trocr-base-handwritten" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    assert services.ocr_engine("auto") == ("trocr", "microsoft/trocr-base-handwritten")
    monkeypatch.setattr(services, "settings", lambda: Settings(trocr_model=SMALL))
    assert services.ocr_engine("auto") == ("trocr", SMALL)


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ("tesseract", ("tesseract", "microsoft/trocr-base-handwritten")),
        ("trocr", ("trocr", "microsoft/trocr-base-handwritten")),
        (f"trocr:{SMALL}", ("trocr", SMALL)),
        ("hybrid:microsoft/trocr-large-handwritten", ("hybrid", "microsoft/trocr-large-handwritten")),
    ],
)
def test_a_document_may_ask(asked: str, wanted: tuple[str, str]) -> None:
    assert services.ocr_engine(asked) == wanted


@pytest.mark.parametrize("asked", ["easyocr", "tesseract:models/lines", "auto:x", ":x"])
def test_unknown_engines_are_refused(asked: str) -> None:
    with pytest.raises(ConfigError, match="auto, tesseract, trocr, hybrid, or trocr:CHECKPOINT"):
        services.ocr_engine(asked)


def test_each_engine_is_made_once_whoever_asks() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(services.recognizer, [f"trocr:{SMALL}"] * 16))
    assert isinstance(made[0], TrOCR) and len(set(map(id, made))) == 1
    assert isinstance(services.recognizer(f"hybrid:{SMALL}"), Hybrid)
    assert isinstance(services.recognizer("tesseract"), Tesseract)


def test_cleaning_is_a_list_of_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for written, steps in (("none", set()), ("even, rules", {"even", "rules"}), ("", CLEANING)):
        monkeypatch.setenv("ASEAGI_OCR_CLEANING", written)
        assert Settings().ocr_cleaning == steps
