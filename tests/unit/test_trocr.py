"""TrOCR: checkpoints, strips, batches, pages. The small model reads for real; tiny random ones only run."""

from __future__ import annotations

import json
import sys
from itertools import pairwise
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import pytest

from aseagi_tasks.documents import Box, Page
from aseagi_tasks.errors import Cancelled, ConfigError, Unreadable
from aseagi_tasks.reading.batching import Batcher
from aseagi_tasks.reading.hybrid import Hybrid, calibrated
from aseagi_tasks.reading.line_model import LineModel
from aseagi_tasks.reading.tesseract import Tesseract
from aseagi_tasks.reading.trocr import TrOCR
from tests.accuracy import cer, order_free_edits
from tests.known_pages import DPI, Grey, KnownPage, born_digital, degraded

SMALL = Path(__file__).parents[2] / "models" / "lines"
SENTENCES = [
    "The Petitioner respectfully requests that this Court",
    "enter an order dissolving the marriage of the parties;",
    "and awarding joint legal custody of the minor child.",
    "Dated: October 14, 2024",
    "Case No. FL-2024-001873",
]


@pytest.fixture(scope="session")
def small() -> LineModel:
    return LineModel(str(SMALL), "cpu")


@pytest.fixture(scope="session")
def known() -> KnownPage:
    return next(page for page in born_digital(corpus=False) if "02-order" in page.name)


@pytest.fixture(scope="session")
def trocr() -> TrOCR:
    return TrOCR(str(SMALL), lambda _small, rotation: rotation)


def drawn(text: str, size: int = 44) -> Grey:
    """A line as the segmenter cuts it from a page at 300 dpi."""
    from PIL import Image, ImageDraw, ImageFont
    from reportlab.pdfbase.pdfmetrics import getFont

    from aseagi_tasks.samples.fonts import find_fonts

    font = ImageFont.truetype(getFont(find_fonts().name("serif")).face.filename, size)
    left, top, right, bottom = font.getbbox(text)
    image = Image.new("L", (int(right - left) + 10, int(bottom - top) + 10), 255)
    ImageDraw.Draw(image).text((5 - left, 5 - top), text, font=font, fill=0)
    return np.asarray(image)


def saved(folder: Path, image: Grey) -> tuple[Page, Path]:
    path = folder / "page.pgm"
    cv2.imwrite(str(path), image)
    return Page(number=1, width_px=image.shape[1], height_px=image.shape[0], dpi=DPI), path


def test_the_small_model_reads(small: LineModel) -> None:
    for sentence in SENTENCES:
        found = [small.read([strip])[0] for strip in small.cut(drawn(sentence))]
        text = " ".join(read.text for read in found)
        assert cer(sentence, text) <= 0.05, text
        assert min(read.confidence for read in found) > 0.8


def test_a_line_reads_the_same_alone_and_in_a_batch(small: LineModel) -> None:
    strips = [strip for sentence in SENTENCES for strip in small.cut(drawn(sentence))]
    alone = [small.read([strip])[0] for strip in strips]
    together = Batcher(small.read, size=small.size, budget=small.budget()).read(strips * 3, Event())[: len(strips)]
    assert [read.text for read in together] == [read.text for read in alone]
    assert np.allclose([r.confidence for r in together], [r.confidence for r in alone], atol=0.001)


def test_our_decoding_is_what_generate_gives(small: LineModel) -> None:
    strips = [strip for sentence in SENTENCES for strip in small.cut(drawn(sentence))]
    torch = small._torch
    with torch.inference_mode():
        hidden = small._encode(strips)
        generated = small.model.generate(
            encoder_outputs=type("Outputs", (tuple,), {"last_hidden_state": hidden})((hidden,)),
            max_new_tokens=46,
            num_beams=1,
            do_sample=False,
            use_cache=True,
        )
    texts = small._tokenizer.batch_decode(generated, skip_special_tokens=True)
    assert [read.text for read in small.read(strips)] == [" ".join(text.split()) for text in texts]


def test_long_lines_are_cut_between_words(small: LineModel) -> None:
    line = drawn(" ".join(SENTENCES))
    strips = small.cut(line)
    assert [strips[0].left, strips[-1].right] == [0, line.shape[1]]
    for one, other in pairwise(strips):
        assert one.right == other.left and other.after_gap
        assert (line[:, one.right - 2 : one.right + 2] > 128).all(), "cut through a letter"
    assert max(strip.aspect for strip in strips) <= small.max_aspect
    assert cer(" ".join(SENTENCES), " ".join(read.text for read in small.read(strips))) <= 0.05
    rule = np.zeros((40, 4000), np.uint8)  # nothing to cut at
    assert sum(strip.right - strip.left for strip in small.cut(rule)) == 4000


@pytest.mark.parametrize("shape", [(1, 1), (3, 900), (60, 2), (2, 5000)])
def test_crops_of_any_size_are_read(small: LineModel, shape: tuple[int, int]) -> None:
    strips = small.cut(np.full(shape, 255, np.uint8))
    assert strips[-1].right == shape[1]
    for read in small.read(strips):
        assert 0 <= read.confidence <= 1


def test_a_page(trocr: TrOCR, known: KnownPage, tmp_path: Path) -> None:
    page = trocr.read(*saved(tmp_path, known.image))
    edits, characters = order_free_edits(known.lines, page.text.splitlines())
    assert edits / characters <= 0.06
    assert page.source == "trocr" and page.confidence is not None and page.confidence > 0.8
    for line in page.lines:
        assert line.text == " ".join(word.text for word in line.words)
        for word in line.words:
            assert line.box.left <= word.box.left < word.box.right <= line.box.right
    assert trocr.engine == "trocr lines"


def test_a_page_that_stands_on_its_head(known: KnownPage, tmp_path: Path) -> None:
    page = TrOCR(str(SMALL), Tesseract("eng").detect).read(*saved(tmp_path, np.rot90(known.image, 2)))
    edits, characters = order_free_edits(known.lines, page.text.splitlines())
    assert page.rotation == 180 and edits / characters <= 0.06


def test_nothing_is_read_where_nothing_is(trocr: TrOCR, tmp_path: Path) -> None:
    page = trocr.read(*saved(tmp_path, np.full((3300, 2550), 255, np.uint8)))
    assert (page.lines, page.confidence, page.source) == ((), None, "trocr")
    noise = np.random.default_rng(2).integers(0, 255, (3300, 2550)).astype(np.uint8)
    assert len(trocr.read(*saved(tmp_path, noise)).text) < 40
    damaged = tmp_path / "damaged.pgm"
    damaged.write_bytes(b"P5\n10")
    with pytest.raises(Unreadable, match="damaged"):
        trocr.read(Page(number=4, width_px=10, height_px=10, dpi=DPI), damaged)


def test_a_cancelled_page_is_not_read(trocr: TrOCR, known: KnownPage, tmp_path: Path) -> None:
    stop = Event()
    stop.set()
    with pytest.raises(Cancelled):
        trocr.read(*saved(tmp_path, known.image), stop)


def test_hybrid_reads_again_what_tesseract_is_not_sure_of(trocr: TrOCR, known: KnownPage, tmp_path: Path) -> None:
    unclean, dpi = degraded(known.image, "fax")
    page, path = saved(tmp_path, unclean)
    page = Hybrid(Tesseract("eng"), trocr).read(page.model_copy(update={"dpi": dpi}), path)
    both = [line for line in page.lines if line.other is not None]
    assert page.source == "hybrid" and both
    for line in both:
        assert line.other is not None and {line.source, line.other.source} == {"tesseract", "trocr"}
        assert calibrated(line) >= calibrated(line.model_copy(update=line.other.model_dump()))
    assert Page.model_validate_json(page.model_dump_json()) == page


def test_hybrid_finds_what_tesseract_missed(trocr: TrOCR, known: KnownPage, tmp_path: Path) -> None:
    class Half(Tesseract):
        def lines(self, image: Grey, dpi: float) -> Any:
            return super().lines(image, dpi)[::2]

    page = Hybrid(Half("eng"), trocr).read(*saved(tmp_path, known.image))
    edits, characters = order_free_edits(known.lines, page.text.splitlines())
    assert edits / characters <= 0.05
    tops = [line.box.top for line in page.lines if line.box.right - line.box.left > 1200]
    assert tops == sorted(tops), "missed lines stand where they are read"


# -- checkpoints


def tiny(folder: Path, encoder: str) -> str:
    """A random checkpoint of a published shape in small: square input, three channels, wordpieces."""
    import transformers
    from tokenizers import Tokenizer, models, pre_tokenizers

    sizes = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config_class = {"vit": transformers.ViTConfig, "deit": transformers.DeiTConfig}[encoder]
    model_class = {"vit": transformers.ViTModel, "deit": transformers.DeiTModel}[encoder]
    eyes = config_class(image_size=48, patch_size=16, num_channels=3, **sizes)
    mouth = transformers.TrOCRConfig(
        vocab_size=12, d_model=16, decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=16,
        cross_attention_hidden_size=24, max_position_embeddings=32, decoder_start_token_id=2, use_cache=False,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(eyes, mouth)
    config.decoder_start_token_id, config.pad_token_id = 2, 1
    model = transformers.VisionEncoderDecoderModel(
        config, model_class(eyes, add_pooling_layer=False), transformers.TrOCRForCausalLM(mouth)
    )
    model.save_pretrained(folder)
    words = {token: at for at, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *"abcdefgh"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.5] * 3}))
    return str(folder)


@pytest.mark.parametrize("encoder", ["vit", "deit"])
def test_checkpoints_of_the_published_shapes(tmp_path: Path, encoder: str) -> None:
    model = LineModel(tiny(tmp_path, encoder), "cpu")
    assert (model.height, model.width, model.keeps_aspect) == (48, 48, False)
    strips = [strip for sentence in SENTENCES for strip in model.cut(drawn(sentence))]
    assert len(strips) == len(SENTENCES), "lines are squashed, not cut"
    found = model.read(strips)
    assert [read.text for read in found] == [model.read([strip])[0].text for strip in strips]
    assert len(model.cut(drawn(" ".join(SENTENCES * 2)))) > 2, "lines far longer than those it learned from are cut"


def test_a_checkpoint_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ConfigError, match="hf download nobody/nothing --local-dir") as caught:
        LineModel("nobody/nothing")
    assert "ASEAGI_OCR_ENGINE=tesseract" in str(caught.value)
    with pytest.raises(ConfigError, match="cannot be loaded"):
        LineModel(str(tmp_path))


def test_torch_that_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ConfigError, match=r"pip install -e '\.\[trocr\]'"):
        LineModel(str(SMALL))


def test_boxes_outside_of_any_text(trocr: TrOCR, known: KnownPage) -> None:
    margin = Box(0, 0, 60, 40)
    assert trocr.read_boxes(known.image, DPI, [margin]) == [None]
    assert trocr.read_boxes(known.image, DPI, []) == []
