"""Lines and pages a second of our batching beside `generate`, same model, same device, one run.

    python benchmarks/ocr_speed.py [--model models/lines | --shape base|large] [--pages 24] [--threads 8]

(a) `generate` one line at a time; (b) plain `generate` over sorted batches of 32; (c) ours: threads that hand in pages,
one batcher, own decoding. `--shape` makes the published architecture with random weights, which is enough for speed:
every line is then decoded to the same number of tokens by all three. Prints the floating-point operations counted from
the model's shapes and, on a GPU of which the peak is known, the share of it that the encoder reaches.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[1]))
from aseagi_tasks.reading.batching import Batcher
from aseagi_tasks.reading.line_model import LineModel, Strip
from aseagi_tasks.reading.lines import find_lines
from tests.known_pages import DPI, ROOT, born_digital

#: Dense bf16/fp16 tensor operations a second, from NVIDIA's data sheets.
PEAK = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "RTX 4090": 165e12, "RTX 3090": 71e12, "RTX 3080": 60e12}
SHAPES = {  # encoder width, layers, heads; decoder width, feed-forward, heads (12 layers)
    "base": (768, 12, 12, 1024, 4096, 16),
    "large": (1024, 24, 16, 1024, 4096, 16),
}


def make(shape: str, folder: str) -> str:
    """The published architecture with random weights, and a tokenizer of as many tokens."""
    from tokenizers import Tokenizer, models

    wide, layers, heads, d_model, ffn, decoder_heads = SHAPES[shape]
    encoder = transformers.ViTConfig(
        hidden_size=wide,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        intermediate_size=4 * wide,
        image_size=384,
    )
    decoder = transformers.TrOCRConfig(
        vocab_size=50265, d_model=d_model, decoder_layers=12, decoder_ffn_dim=ffn,
        decoder_attention_heads=decoder_heads, cross_attention_hidden_size=wide, max_position_embeddings=512,
        decoder_start_token_id=2,
    )  # fmt: skip
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id = 2, 1
    model = transformers.VisionEncoderDecoderModel(
        config, transformers.ViTModel(encoder, add_pooling_layer=False), transformers.TrOCRForCausalLM(decoder)
    )
    model.save_pretrained(folder)
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3} | {f"t{at}": at for at in range(4, 50265)}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>")),
        bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
    ).save_pretrained(folder)  # fmt: skip
    (Path(folder) / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5], "image_std": [0.5]}))
    return folder


class Forced(LineModel):
    """Random weights do not end lines: every line is written to the same number of tokens."""

    tokens = 20

    def _decode(self, hidden: Any, limit: int) -> tuple[list[list[int]], list[float], list[int], list[bool]]:
        self._end = 50264  # written by chance once in fifty thousand
        return super()._decode(hidden, self.tokens)


def pages_of_strips(model: LineModel, count: int) -> list[list[Strip]]:
    """Strips of real pages, the same pages again until there are enough."""
    found = []
    for page in born_digital():
        boxes = [line.box for line in find_lines(page.image, DPI)]
        strips = [s for b in boxes for s in model.cut(page.image[b.top : b.bottom, b.left : b.right])]
        if len(strips) > 10:
            found.append(strips)
        if len(found) == count:
            break
    return [found[at % len(found)] for at in range(count)]


def generate(model: LineModel, strips: Sequence[Strip], tokens: int | None) -> Any:
    """Hugging Face's own decoding of one batch."""
    pixels = torch.from_numpy(padded(model, strips)).to(model.device)
    pixels = ((pixels.float() / 255 - 0.5) / 0.5).to(model.dtype).expand(-1, model._channels, -1, -1)
    limit = tokens or int(4.5 * max(s.aspect for s in strips)) + 6
    return model.model.generate(
        pixels, max_new_tokens=limit, min_new_tokens=tokens, num_beams=1, do_sample=False, use_cache=True
    )


def padded(model: LineModel, strips: Sequence[Strip]) -> Any:
    """Whole inputs, as a processor gives them."""
    import numpy as np

    sheet = np.full((len(strips), 1, model.height, model.width), 255, np.uint8)
    for row, strip in enumerate(strips):
        sheet[row, 0, :, : strip.pixels.shape[1]] = strip.pixels
    return sheet


def encoder_flops(model: LineModel, strips: int) -> float:
    """Multiply-adds times two: projections, feed-forward, attention, over every patch of full-size inputs."""
    c = model.model.config.encoder
    n = model._patches(model.width)
    layer = 2 * n * (4 * c.hidden_size**2 + 2 * c.hidden_size * c.intermediate_size) + 4 * n * n * c.hidden_size
    return strips * c.num_hidden_layers * layer


def timed(model: LineModel, work: Any) -> float:
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    begun = time.perf_counter()
    with torch.inference_mode():
        work()
    if model.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=str(ROOT / "models" / "lines"))
    parser.add_argument("--shape", choices=sorted(SHAPES))
    parser.add_argument("--tokens", type=int, default=20, help="with --shape: tokens of every line")
    parser.add_argument("--pages", type=int, default=24)
    parser.add_argument("--threads", type=int, default=8)
    arguments = parser.parse_args()
    Forced.tokens = arguments.tokens
    forced = arguments.tokens if arguments.shape else None
    with TemporaryDirectory() as folder:
        model = Forced(make(arguments.shape, folder)) if arguments.shape else LineModel(arguments.model)
    device = torch.cuda.get_device_name() if model.device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    pages = pages_of_strips(model, arguments.pages)
    strips = sorted((strip for page in pages for strip in page), key=lambda s: s.aspect)
    print(f"{device}; {len(pages)} pages, {len(strips)} strips; {model.dtype}")

    few = strips[:: max(1, len(strips) // 64)]
    timed(model, lambda: generate(model, few[:8], forced))
    one = timed(model, lambda: [generate(model, [strip], forced) for strip in few]) / len(few) * len(strips)
    plain = timed(model, lambda: [generate(model, strips[at : at + 32], forced) for at in range(0, len(strips), 32)])

    batcher = Batcher(model.read, size=model.size, budget=model.budget(), is_oom=model.is_oom)
    batcher.read(strips[:64], Event())

    def ours() -> None:
        with ThreadPoolExecutor(arguments.threads) as pool:
            list(pool.map(lambda page: batcher.read(page, Event()), pages))

    batcher.busy_s = 0.0
    mine = timed(model, ours)
    print(f"{'':34}{'lines/s':>9}{'pages/s':>9}{'of (b)':>8}")
    for name, spent in (("(a) generate, one at a time", one), ("(b) generate, sorted, 32", plain), ("(c) ours", mine)):
        print(f"{name:34}{len(strips) / spent:9.1f}{len(pages) / spent:9.2f}{plain / spent:8.2f}")
    print(f"device busy in (c): {batcher.busy_s / mine:.0%}; goal 90 %")

    flops = encoder_flops(model, len(few))
    encoding = timed(model, lambda: model._encode(few))
    encoding = timed(model, lambda: model._encode(few))
    print(f"encoder: {flops / len(few) / 1e9:.2f} GFLOP a whole strip, {flops / encoding / 1e12:.2f} TFLOP/s", end="")
    peak = next((peak for name, peak in PEAK.items() if name in device), None)
    print(f", {flops / encoding / peak:.0%} of peak (goal 30 %)" if peak else "")


if __name__ == "__main__":
    main()
