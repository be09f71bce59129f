"""TrOCR models: pictures of lines in, text and confidence out, a batch at a time, on the GPU or on the CPU.

Any ``VisionEncoderDecoderModel`` with a ViT-like encoder. What such models read are pictures of one size: the published
ones squash every line into 384 x 384 pixels; one whose input is a strip (``models/lines``: 32 x 384) keeps a line's
proportions and is given only as much of the strip as the widest line of a batch takes.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from aseagi_tasks.errors import ConfigError

#: A squashed line longer than so many times its height is cut at a gap between words: lines of the IAM set, which the
#: published models learned from, are 10 to 25 times as long as high.
SQUASHED_ASPECT = 24.0
#: A gap between words is at least this share of a line's height wide.
_WORD_GAP = 0.16
#: Tokens that a picture as wide as high can take: condensed type has up to 4.5 characters there.
_TOKENS = 4.5
#: Strips are padded to a multiple of so many patches, so that there are few different sizes.
_STEP = 16
#: A line that did not come to its end within what can stand there was not read.
UNENDED = 0.3
#: Rows that have ended leave a batch when they are so many of it.
_LEAVE = 0.25

Grey = NDArray[np.uint8]
log = logging.getLogger(__name__)


class Strip(NamedTuple):
    """A piece of a line as the model takes it.

    Attributes:
        pixels: H x W uint8, grey; W up to the model's width.
        aspect: width over height as on the page.
        left, right: where the piece is in its line's picture, in its pixels.
        after_gap: whether there is a gap between words before it.
    """

    pixels: Grey
    aspect: float
    left: int
    right: int
    after_gap: bool


class Read(NamedTuple):
    """What stands on a strip; confidence is the geometric mean of the tokens' probabilities."""

    text: str
    confidence: float


class LineModel:
    """A checkpoint, loaded.

    Args:
        name: a folder, or a name on the Hugging Face hub; what is on disk is used without asking the hub.
        device: ``cuda``, ``cpu``; default: the GPU if there is one.
    Raises:
        ConfigError: torch or transformers are missing, or the checkpoint is, or it is of another kind.
    """

    def __init__(self, name: str, device: str | None = None) -> None:
        torch, model, tokenizer, image = _load(name)
        self._torch = torch
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = torch.float32
        if self.device.type == "cuda":
            self.dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        self.model = model.to(self.device, self.dtype).eval()
        self._tokenizer = tokenizer
        encoder, decoder = model.config.encoder, model.config.decoder
        self.height, self.width = _pair(encoder.image_size)
        self._patch = _pair(encoder.patch_size)
        self._channels = encoder.num_channels
        #: a strip keeps its proportions; a square is squashed
        self.keeps_aspect = self.width >= 2 * self.height and self._patch[0] == self.height
        self.max_aspect = self.width / self.height if self.keeps_aspect else SQUASHED_ASPECT
        self._mean, self._std = (
            float(np.mean(image.get("image_mean", 0.5))),
            float(np.mean(image.get("image_std", 0.5))),
        )
        start = model.config.decoder_start_token_id
        self._start = decoder.decoder_start_token_id if start is None else start
        self._end = decoder.eos_token_id
        self._most_tokens = decoder.max_position_embeddings - 2
        if self.keeps_aspect:
            model.encoder.embeddings.interpolate_pos_encoding = _first_positions(model.encoder.embeddings, torch)

    # -- from pictures to strips

    def cut(self, line: Grey) -> list[Strip]:
        """A line's picture as strips: one, or several where it is longer than the model reads, cut between words."""
        height, width = line.shape
        pieces = math.ceil(width / height / self.max_aspect)
        if pieces <= 1:
            return [self._strip(line, 0, width, after_gap=True)]
        strips, left, after_gap = [], 0, True
        gaps = _gaps(line)
        while left < width:
            rest = width - left
            pieces = math.ceil(rest / height / self.max_aspect)
            if pieces <= 1:
                strips.append(self._strip(line, left, width, after_gap=after_gap))
                break
            target, limit = left + rest / pieces, left + int(height * self.max_aspect)
            at, wide = _best_cut(line, gaps, left, target, limit)
            strips.append(self._strip(line, left, at, after_gap=after_gap))
            left, after_gap = at, wide
        return strips

    def _strip(self, line: Grey, left: int, right: int, *, after_gap: bool) -> Strip:
        piece = line[:, left:right]
        aspect = (right - left) / line.shape[0]
        width = max(self._patch[1], min(self.width, round(self.height * aspect))) if self.keeps_aspect else self.width
        small = cv2.resize(piece, (width, self.height), interpolation=cv2.INTER_AREA)
        low, high = np.percentile(small, (1, 99))
        even = np.clip((small.astype(np.float32) - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)
        return Strip(even, aspect, left, right, after_gap)

    def size(self, strip: Strip) -> int:
        """What a strip takes of a batch: its patches, padding included."""
        return self._patches(strip.pixels.shape[1])

    def _patches(self, width: int) -> int:
        step = _STEP * self._patch[1]
        padded = min(self.width, math.ceil(width / step) * step)
        return (self.height // self._patch[0]) * (padded // self._patch[1]) + 1

    def budget(self) -> int:
        """Patches that fit into half of what memory is free: the decoder keeps keys and values of each."""
        decoder = self.model.config.decoder
        each = 4 * decoder.decoder_layers * decoder.d_model * self.dtype.itemsize
        whole = self._patches(self.width)
        if self.device.type != "cuda":
            return 64 * whole
        free, _ = self._torch.cuda.mem_get_info(self.device)
        return max(whole, min(512 * whole, int(free / 2 / each)))

    # -- from strips to text

    def read(self, strips: Sequence[Strip]) -> list[Read]:
        """Read a batch of strips at once; of one ``size``, or the padding changes what is read a little."""
        torch = self._torch
        with torch.inference_mode():
            hidden = self._encode(strips)
            limit = min(self._most_tokens, int(_TOKENS * max(strip.aspect for strip in strips)) + 6)
            tokens, sums, counts, ended = self._decode(hidden, limit)
        texts = self._tokenizer.batch_decode(tokens, skip_special_tokens=True)
        found = []
        for text, total, count, whole in zip(texts, sums, counts, ended, strict=True):
            confidence = math.exp(total / max(1, count))
            found.append(Read(" ".join(text.split()), round(confidence if whole else min(confidence, UNENDED), 4)))
        return found

    def is_oom(self, error: BaseException) -> bool:
        """Whether the batch was too large for the device."""
        words = str(error).lower()
        return isinstance(error, MemoryError | self._torch.cuda.OutOfMemoryError) or "can't allocate memory" in words

    def _encode(self, strips: Sequence[Strip]) -> Any:
        """Hidden states, n x (patches + 1) x width of the encoder."""
        torch = self._torch
        step = _STEP * self._patch[1]
        widest = max(strip.pixels.shape[1] for strip in strips)
        wide = min(self.width, math.ceil(widest / step) * step) if self.keeps_aspect else self.width
        sheet = np.full((len(strips), 1, self.height, wide), 255, np.uint8)
        for row, strip in enumerate(strips):
            sheet[row, 0, :, : strip.pixels.shape[1]] = strip.pixels
        pixels = torch.from_numpy(sheet)
        if self.device.type == "cuda":
            pixels = pixels.pin_memory().to(self.device, non_blocking=True)
        pixels = ((pixels.float() / 255 - self._mean) / self._std).to(self.dtype)
        pixels = pixels.expand(-1, self._channels, -1, -1)
        return self.model.encoder(pixels, interpolate_pos_encoding=self.keeps_aspect).last_hidden_state

    def _decode(self, hidden: Any, limit: int) -> tuple[list[list[int]], list[float], list[int], list[bool]]:
        """Greedy. Per row: tokens, the sum of their log probabilities, their number, whether the end was reached."""
        from transformers import DynamicCache, EncoderDecoderCache

        torch, rows = self._torch, len(hidden)
        projection = getattr(self.model, "enc_to_dec_proj", None)
        hidden = projection(hidden) if projection is not None else hidden
        config = self.model.config.decoder
        cache = EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))
        alive = torch.arange(rows, device=self.device)
        last = torch.full((rows, 1), self._start, device=self.device)
        tokens = torch.full((rows, limit), self._end, device=self.device)
        sums = torch.zeros(rows, device=self.device)
        counts = torch.zeros(rows, dtype=torch.long, device=self.device)
        ended = torch.zeros(rows, dtype=torch.bool, device=self.device)
        look = 1 if self.device.type == "cpu" else 4  # asking a GPU whether rows have ended makes it wait
        for step in range(limit):
            out = self.model.decoder(
                input_ids=last, encoder_hidden_states=hidden, past_key_values=cache, use_cache=True
            ).logits[:, -1]
            best, last = out.float().log_softmax(-1).max(-1, keepdim=True)
            going = ~ended[alive]
            last = torch.where(going[:, None], last, self._end)
            tokens[alive, step] = last[:, 0]
            sums[alive] += torch.where(going, best[:, 0], 0)
            counts[alive] += going
            ended[alive] |= last[:, 0] == self._end
            if (step + 1) % look == 0:
                going = ~ended[alive]
                left = int(going.sum())
                if not left:
                    break
                if left <= (1 - _LEAVE) * len(alive):
                    keep = torch.nonzero(going)[:, 0]
                    alive, last, hidden = alive[keep], last[keep], hidden[keep]
                    cache.batch_select_indices(keep)
        return tokens.tolist(), sums.tolist(), counts.tolist(), ended.tolist()


_loading = Lock()  # transformers makes one model at a time: two threads would get weights without content


def _load(name: str) -> tuple[Any, Any, Any, dict[str, Any]]:
    """torch, model, tokenizer and what ``preprocessor_config.json`` says."""
    try:
        import torch
        import transformers
    except ImportError as exc:
        raise ConfigError(
            "ASEAGI_OCR_ENGINE", f"TrOCR needs {exc.name}, which is not installed.", "pip install -e '.[trocr]'"
        ) from exc
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    errors = []
    for only_here in (True,) if Path(name).is_dir() else (True, False):
        try:
            with _loading:
                model = transformers.VisionEncoderDecoderModel.from_pretrained(
                    name,
                    local_files_only=only_here,
                    attn_implementation={"encoder": "sdpa", "decoder": "eager"},
                    dtype=torch.float32,
                )
            tokenizer = transformers.AutoTokenizer.from_pretrained(name, local_files_only=only_here)
            image, _ = transformers.ImageProcessingMixin.get_image_processor_dict(name, local_files_only=only_here)
            return torch, model, tokenizer, image
        except (OSError, ValueError) as exc:
            errors.append(exc)
    log.debug("loading %s: %s", name, errors[-1])
    if Path(name).is_dir():
        raise ConfigError(
            "ASEAGI_TROCR_MODEL",
            f"{name} cannot be loaded ({_first_line(errors[-1])}).",
            "It has config.json, model.safetensors, preprocessor_config.json and a tokenizer, as Hugging Face's have.",
        ) from errors[-1]
    raise ConfigError(
        "ASEAGI_TROCR_MODEL",
        f"{name} is neither a folder nor in Hugging Face's cache, and the hub did not give it.",
        f"Where there is a network: `hf download {name} --local-dir FOLDER`; then ASEAGI_TROCR_MODEL=FOLDER. "
        "Or ASEAGI_OCR_ENGINE=tesseract.",
    ) from errors[-1]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")[:160]


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _first_positions(embeddings: Any, torch: Any) -> Callable[..., Any]:
    """In place of stretching the positions over a narrower strip: as many of them as it has patches."""

    def first(patches: Any, height: int, width: int) -> Any:
        return embeddings.position_embeddings[:, : patches.shape[1]]

    return first


def _gaps(line: Grey) -> list[tuple[int, int]]:
    """Columns without ink, as runs; only those at least as wide as a gap between words."""
    low, high = np.percentile(line, (1, 90))
    ink = (line < low + 0.6 * (high - low)).sum(axis=0) > 0
    edges = np.flatnonzero(np.diff(np.concatenate([[1], ink.astype(np.int8), [1]])))
    runs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return [(start, stop) for start, stop in runs if stop - start >= _WORD_GAP * line.shape[0]]


def _best_cut(line: Grey, gaps: list[tuple[int, int]], left: int, target: float, limit: int) -> tuple[int, bool]:
    """Where to cut: the gap nearest to the target that leaves something and fits; else where there is least ink."""
    middles = [(start + stop) // 2 for start, stop in gaps]
    fitting = [at for at in middles if left + line.shape[0] < at <= limit]
    if fitting:
        return min(fitting, key=lambda at: abs(at - target)), True
    start = left + int(0.7 * (limit - left))
    ink = 255 - line[:, start:limit].astype(np.int64)
    return start + int(np.argmin(ink.sum(axis=0))), False
