"""Trains the small TrOCR of ``models/lines``: lines rendered from installed fonts, made unclean, read back.

    pip install torch transformers          (see README.md, "TrOCR"; the fonts: FONT_PACKAGES below, from Debian)
    python benchmarks/train_line_model.py [--out models/lines] [--lines 100000] [--epochs 5]

A ViT over strips of 32 x 384 pixels, grey, cut into patches of the whole height and four pixels' width; a decoder of
two layers that writes one character at a time. The same seed and fonts give the same lines. Prints the character
error rate on lines that were not trained on, in fonts that were (two in three) and in fonts that were not.

Text: licences that Debian installs, dictionary words, and made-up dates, sums, names and case numbers. No line of the
documents that benchmarks measure on.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from rapidfuzz.distance import Levenshtein
from torch import nn

FONT_PACKAGES = (
    "fonts-liberation fonts-urw-base35 fonts-dejavu-core fonts-dejavu-extra fonts-freefont-ttf fonts-crosextra-carlito "
    "fonts-crosextra-caladea fonts-lato fonts-open-sans fonts-linuxlibertine fonts-ebgaramond fonts-roboto-unhinted "
    "fonts-cantarell fonts-courier-prime fonts-junicode fonts-oldstandard fonts-tuffy fonts-sil-charis fonts-lmodern "
    "fonts-croscore fonts-inconsolata fonts-hack"
)
HEIGHT, WIDTH, PATCH = 32, 384, 4
CHARACTERS = [chr(c) for c in range(32, 127)] + list("§¶•–—‘’“”©®°½¼éèçñáíóúüö£€")
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
BOS, PAD, EOS, UNK = range(4)
LONGEST = 48
WIDEST_TEXT = 40


# -- text


def sources() -> tuple[list[str], list[str]]:
    """Words of running text in their order, and words of a dictionary."""
    licences = sorted(Path("/usr/share/common-licenses").resolve().glob("*"))
    running = " ".join(path.read_text(errors="ignore") for path in licences if path.is_file() and not path.is_symlink())
    known = set(CHARACTERS)
    words = [word for word in running.split() if set(word) <= known and len(word) <= WIDEST_TEXT]
    dictionary = [w for w in Path("/usr/share/dict/words").read_text().split() if set(w) <= known]
    return words, dictionary


MONTHS = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
]
LEGAL = [
    "Plaintiff",
    "Defendant",
    "Petitioner",
    "Respondent",
    "Appellant",
    "Appellee",
    "Motion",
    "Order",
    "Court",
    "Superior",
    "District",
    "County",
    "State",
    "United",
    "States",
    "of",
    "America",
    "Case",
    "No.",
    "Declaration",
    "Exhibit",
    "Affidavit",
    "hereby",
    "pursuant",
    "to",
    "Rule",
    "Fed.",
    "R.",
    "Civ.",
    "P.",
    "U.S.C.",
    "F.3d",
    "Cal.",
    "App.",
    "Minor",
    "Attorney",
    "for",
    "Judge",
    "Hon.",
    "Department",
    "Dated",
    "Signature",
    "perjury",
    "custody",
    "visitation",
    "hearing",
    "police",
    "report",
    "officer",
    "incident",
    "notice",
    "summons",
    "complaint",
    "judgment",
    "decree",
    "stipulation",
    "evidence",
    "witness",
    "jury",
    "trial",
    "appeal",
    "filed",
    "clerk",
    "deputy",
    "sheriff",
    "petition",
    "allegations",
    "dismissed",
    "granted",
    "denied",
    "v.",
    "et",
    "al.",
    "In",
    "re",
    "the",
    "matter",
    "of",
]


def made_up(rng: random.Random) -> str:
    """A date, a sum, a case number, a telephone number, or characters that mean nothing."""
    year, month, day = rng.randint(1950, 2035), rng.choice(MONTHS), rng.randint(1, 31)
    capitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    choices = (
        lambda: f"{month} {day}, {year}",
        lambda: f"{rng.randint(1, 12):02d}/{day:02d}/{rng.choice([year, year % 100])}",
        lambda: f"${rng.randint(1, 999_999):,}.{rng.randint(0, 99):02d}",
        lambda: (
            f"{rng.randint(0, 9)}:{rng.randint(10, 99)}-{rng.choice(['cv', 'cr', 'CV'])}-{rng.randint(1, 99999):05d}-"
            + "".join(rng.choices(capitals, k=rng.randint(2, 3)))
        ),
        lambda: f"No. {rng.choice(capitals)}{rng.randint(1000, 9_999_999)}",
        lambda: f"{rng.choice(['J', 'FL', 'CIV', 'BC', 'SC'])}{rng.randint(10, 99)}-{rng.randint(10000, 99999)}",
        lambda: f"({rng.randint(200, 999)}) {rng.randint(200, 999)}-{rng.randint(0, 9999):04d}",
        lambda: f"§ {rng.randint(1, 9999)}({rng.choice('abcdefgh')})({rng.randint(1, 9)})",
        lambda: (
            f"{rng.randint(1, 999)} {rng.choice(['F.2d', 'F.3d', 'U.S.', 'S. Ct.', 'P.2d'])} {rng.randint(1, 1999)}"
        ),
        lambda: f"{rng.randint(1, 40)}{rng.choice(['.', ')', '', ':'])}",
        lambda: "".join(rng.choices(CHARACTERS[1:], k=rng.randint(2, 14))),
        lambda: "".join(rng.choices(capitals + "0123456789-", k=rng.randint(4, 14))),
        lambda: (
            rng.choice(["www.", "http://", ""])
            + rng.choice(["court", "law", "records"])
            + rng.choice([".gov", ".org", ".com"])
        ),
        lambda: rng.choice(["____", "......", "/s/", "[ ]", "[X]", "* * *", "- 2 -", "&", "%", "#", "@", "•"]),
    )
    return rng.choice(choices)()


def line_of_text(rng: random.Random, running: list[str], dictionary: list[str], *, held_out: bool) -> str:
    """A few words, never longer than the strip takes; held-out lines come from the last tenth of the running text."""
    edge = len(running) * 9 // 10
    target, words = rng.choice((4, 10, 18, 26, 32, 36, WIDEST_TEXT)), []
    at = rng.randrange(edge, len(running) - 20) if held_out else rng.randrange(edge - 20)
    kind = rng.random()
    while sum(map(len, words)) + len(words) < target:
        draw = rng.random()
        if kind < 0.5:
            words.append(running[at])
            at += 1
        elif draw < 0.35:
            words.append(rng.choice(dictionary))
        elif draw < 0.6:
            words.append(rng.choice(LEGAL))
        elif draw < 0.85:
            words.append(made_up(rng))
        else:
            word = rng.choice(dictionary).capitalize()
            words.append(rng.choice((word, word + ",", f"“{word}”", f'"{word}"', f"({word})", word + ";", word + "'s")))
    text = " ".join(words)
    how = rng.random()
    if how < 0.14:
        text = text.upper()
    elif how < 0.2:
        text = text.title()
    if len(text) > WIDEST_TEXT:
        text = text[:WIDEST_TEXT].rsplit(" ", 1)[0]
    if rng.random() < 0.25:
        text = text.translate(str.maketrans({'"': "”", "'": "’"}))
    return re.sub(r"\s+", " ", text).strip()


# -- pictures


def fonts() -> list[str]:
    """Files of the installed Latin text fonts that have every character we write, in a stable order."""
    listed = subprocess.run(["fc-list", ":lang=en", "file"], capture_output=True, text=True, check=True).stdout
    files = sorted({line.split(":")[0] for line in listed.splitlines()})
    unwanted = re.compile(
        r"symbol|dingbat|math|emoji|comfortaa|initials|z003|swash|keyboard|outline|shadow|black|hairline|thin|lmsy|lmmi|lmex",
        re.I,
    )
    usable = []
    for file in files:
        if not file.endswith((".ttf", ".otf", ".t1", ".pfb")) or unwanted.search(Path(file).name):
            continue
        try:
            font = ImageFont.truetype(file, 32)
        except OSError:
            continue
        empty = font.getmask("\ufffe").getbbox()
        drawn = [font.getmask(c) for c in "AaGgQq059§“—"]
        if (
            all(mask.getbbox() for mask in drawn)
            and len({bytes(mask) for mask in drawn}) == len(drawn)
            and empty != drawn[0].getbbox()
        ):
            usable.append(file)
    return usable


def picture(text: str, file: str, rng: random.Random) -> np.ndarray:
    """The line as a scanner might see it, cut out as the segmenter cuts, scaled into the strip."""
    size = rng.randint(34, 56)
    font = ImageFont.truetype(file, size)
    left, top, right, bottom = font.getbbox(text)
    pad = size
    canvas = Image.new("L", (right - left + 2 * pad, bottom - top + 2 * pad), 255)
    ImageDraw.Draw(canvas).text((pad - left, pad - top), text, font=font, fill=rng.choice((0, 0, 0, 20, 60, 90)))
    image = np.asarray(canvas)
    noise = np.random.default_rng(rng.getrandbits(32))
    # the cut: around the ink, or around what ascenders and descenders would take
    ascent, _ = font.getmetrics()
    base = pad - top + ascent
    if rng.random() < 0.5:
        above, below = pad - rng.uniform(0.0, 0.2) * size, image.shape[0] - pad + rng.uniform(0.0, 0.2) * size
    else:
        above, below = base - rng.uniform(0.72, 1.05) * size, base + rng.uniform(0.2, 0.42) * size
        above, below = min(above, pad + 0.06 * size), max(below, image.shape[0] - pad - 0.06 * size)
    if rng.random() < 0.1:  # an underline, or a rule of the form
        y = int(base + rng.uniform(0.05, 0.25) * size)
        image = image.copy()
        cv2.line(image, (rng.randint(0, pad), y), (image.shape[1] - rng.randint(0, pad), y), 0, rng.randint(1, 3))
    if rng.random() < 0.5:  # lines are not quite level, letters not quite upright
        angle, shear = rng.gauss(0, 0.5), rng.gauss(0, 0.06)
        matrix = cv2.getRotationMatrix2D((image.shape[1] / 2, image.shape[0] / 2), angle, 1)
        matrix[0, 1] += shear
        matrix[0, 2] -= shear * image.shape[0] / 2
        image = cv2.warpAffine(image, matrix, image.shape[::-1], flags=cv2.INTER_LINEAR, borderValue=255)
    x0, x1 = pad - rng.uniform(0, 0.4) * size, image.shape[1] - pad + rng.uniform(0, 0.4) * size
    image = image[max(0, int(above)) : int(below), max(0, int(x0)) : int(x1)]
    if rng.random() < 0.3:  # strokes thinner or thicker
        kernel = np.ones((2, 2), np.uint8)
        image = cv2.erode(image, kernel) if rng.random() < 0.5 else cv2.dilate(image, kernel)
    if rng.random() < 0.4:  # 75 to 200 dpi
        by = rng.uniform(0.35, 0.8)
        image = cv2.resize(image, None, fx=by, fy=by, interpolation=cv2.INTER_AREA)
    if rng.random() < 0.4:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.4) * image.shape[0] / 48)
    if rng.random() < 0.35:
        image = np.clip(image + noise.normal(0, rng.uniform(4, 30), image.shape), 0, 255).astype(np.uint8)
    if rng.random() < 0.1:  # dust
        image = image.copy()
        image[noise.random(image.shape) < rng.uniform(0.001, 0.01)] = rng.choice((0, 255))
    if rng.random() < 0.25:  # fax and black-and-white scans
        image = np.where(image < rng.randint(110, 200), 0, 255).astype(np.uint8)
    if rng.random() < 0.3:  # grey paper, faint print
        low, high = rng.uniform(0, 90), rng.uniform(170, 255)
        image = (low + image * ((high - low) / 255)).astype(np.uint8)
    width = min(WIDTH, max(PATCH, round(image.shape[1] * HEIGHT / image.shape[0])))
    strip = cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA)
    low, high = np.percentile(strip, (1, 99))
    return np.clip((strip - low) * (255 / max(high - low, 1)), 0, 255).astype(np.uint8)


def render(count: int, files: list[str], seed: int, *, held_out: bool) -> tuple[list[np.ndarray], list[str]]:
    """Lines and their text, the same for the same seed."""
    rng = random.Random(seed)
    running, dictionary = sources()
    strips, texts = [], []
    while len(texts) < count:
        text = line_of_text(rng, running, dictionary, held_out=held_out)
        if not text:
            continue
        strip = picture(text, rng.choice(files), rng)
        if strip.shape[1] / HEIGHT < 0.3 * len(text) * 0.5:  # squashed beyond reading
            continue
        strips.append(strip)
        texts.append(text)
    return strips, texts


# -- the model


def make_model() -> Any:
    """TrOCR's shape in small: ViT encoder, TrOCR decoder."""
    from transformers import (
        TrOCRConfig,
        TrOCRForCausalLM,
        VisionEncoderDecoderConfig,
        VisionEncoderDecoderModel,
        ViTConfig,
        ViTModel,
    )

    encoder = ViTConfig(
        hidden_size=192, num_hidden_layers=4, num_attention_heads=4, intermediate_size=512, image_size=[HEIGHT, WIDTH],
        patch_size=[HEIGHT, PATCH], num_channels=1, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    decoder = TrOCRConfig(
        vocab_size=len(SPECIAL) + len(CHARACTERS), d_model=192, decoder_layers=2, decoder_attention_heads=4,
        decoder_ffn_dim=384, cross_attention_hidden_size=192, max_position_embeddings=LONGEST + 4, dropout=0.0,
        scale_embedding=False, bos_token_id=BOS, pad_token_id=PAD, eos_token_id=EOS, decoder_start_token_id=EOS,
        use_cache=True, is_decoder=True, add_cross_attention=True, tie_word_embeddings=True,
    )  # fmt: skip
    config = VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    config.decoder_start_token_id, config.pad_token_id, config.eos_token_id = EOS, PAD, EOS
    config.tie_word_embeddings = False
    model = VisionEncoderDecoderModel(config, ViTModel(encoder, add_pooling_layer=False), TrOCRForCausalLM(decoder))
    model.config.encoder._attn_implementation = "sdpa"
    return model


def save_tokenizer(folder: Path) -> None:
    """One token for each character, in Hugging Face's form."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate(SPECIAL + CHARACTERS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)  # fmt: skip


def states(model: Any, pixels: torch.Tensor) -> torch.Tensor:
    """The encoder on strips that may be narrower than the widest: as many positions as patches."""
    parts = model.encoder.embeddings
    patches = parts.patch_embeddings.projection(pixels).flatten(2).transpose(1, 2)
    x = (
        torch.cat([parts.cls_token.expand(len(pixels), -1, -1), patches], 1)
        + parts.position_embeddings[:, : patches.shape[1] + 1]
    )
    # the layers, whatever this release calls their list
    for layer in model.encoder.encoder.layer if hasattr(model.encoder, "encoder") else model.encoder.layers:
        out = layer(x)
        x = out[0] if isinstance(out, tuple) else out
    return model.encoder.layernorm(x)


def batch(
    strips: list[np.ndarray], texts: list[str], chosen: list[int], numbers: dict[str, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels (n, 1, HEIGHT, W) in [-1, 1], right side white; labels (n, T), -100 where there is none."""
    wide = max(strips[i].shape[1] for i in chosen)
    wide = min(WIDTH, math.ceil(wide / (8 * PATCH)) * 8 * PATCH)
    pixels = np.full((len(chosen), HEIGHT, wide), 255, np.uint8)
    for row, i in enumerate(chosen):
        pixels[row, :, : strips[i].shape[1]] = strips[i]
    labels = [[numbers.get(c, UNK) for c in texts[i]] + [EOS] for i in chosen]
    longest = max(map(len, labels))
    padded = torch.tensor([label + [-100] * (longest - len(label)) for label in labels])
    return torch.from_numpy(pixels)[:, None].float() / 127.5 - 1, padded


@torch.inference_mode()
def read(model: Any, strips: list[np.ndarray], size: int = 64) -> list[str]:
    """Greedy reading of many strips."""
    model.eval()
    order = sorted(range(len(strips)), key=lambda i: strips[i].shape[1])
    out = [""] * len(strips)
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        pixels, _ = batch(strips, [""] * len(strips), chosen, {})
        hidden = states(model, pixels)
        tokens = torch.full((len(chosen), 1), EOS)
        ended = torch.zeros(len(chosen), dtype=torch.bool)
        past, last = None, tokens
        for _ in range(LONGEST):
            step = model.decoder(input_ids=last, encoder_hidden_states=hidden, past_key_values=past, use_cache=True)
            past, last = step.past_key_values, step.logits[:, -1].argmax(-1, keepdim=True)
            last[ended] = PAD
            tokens = torch.cat([tokens, last], 1)
            ended |= last[:, 0] == EOS
            if bool(ended.all()):
                break
        for row, i in enumerate(chosen):
            out[i] = "".join(CHARACTERS[t - len(SPECIAL)] for t in tokens[row].tolist() if t >= len(SPECIAL))
    return out


def error_rate(wanted: list[str], got: list[str]) -> float:
    """Edits per character over all lines."""
    return sum(map(Levenshtein.distance, wanted, got)) / sum(map(len, wanted))


def train(model: Any, strips: list[np.ndarray], texts: list[str], *, epochs: float, check: Any) -> None:
    """AdamW over one cosine; the encoder also spells alone (CTC), only while it learns."""
    numbers = {c: i + len(SPECIAL) for i, c in enumerate(CHARACTERS)}
    spelling = nn.Linear(192, len(SPECIAL) + len(CHARACTERS))
    parameters = [*model.parameters(), *spelling.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1.2e-3, weight_decay=0.02, betas=(0.9, 0.98))
    rng = random.Random(5)
    size, begun, step, shown = 64, time.monotonic(), 0, 0.0
    steps = epochs * len(strips) / size
    while True:
        order = list(range(len(strips)))
        rng.shuffle(order)
        # batches of like widths, in any order
        pools = [
            sorted(order[p : p + 64 * size], key=lambda i: strips[i].shape[1]) for p in range(0, len(order), 64 * size)
        ]
        batches = [pool[b : b + size] for pool in pools for b in range(0, len(pool), size)]
        rng.shuffle(batches)
        for chosen in batches:
            done = step / steps
            if done >= 1:
                return
            for group in optimizer.param_groups:
                group["lr"] = 1.2e-3 * min(1, (step + 1) / 300) * (0.5 + 0.5 * math.cos(math.pi * done) + 0.01)
            model.train()
            pixels, labels = batch(strips, texts, chosen, numbers)
            pixels = pixels + torch.randn_like(pixels) * (0.05 * rng.random())
            with torch.autocast("cpu", torch.bfloat16):
                hidden = states(model, pixels)
                inputs = torch.cat([torch.full((len(chosen), 1), EOS), labels[:, :-1].clamp(min=PAD)], 1)
                logits = model.decoder(input_ids=inputs, encoder_hidden_states=hidden, use_cache=False).logits
                spelled = spelling(hidden[:, 1:])
            loss = nn.functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=-100)
            lengths = (labels >= len(SPECIAL)).sum(1)
            targets = torch.cat([row[row >= len(SPECIAL)] for row in labels])
            ctc = nn.functional.ctc_loss(
                spelled.float().log_softmax(-1).transpose(0, 1), targets, torch.full((len(chosen),), spelled.shape[1]),
                lengths, blank=PAD, zero_infinity=True,
            )  # fmt: skip
            optimizer.zero_grad(set_to_none=True)
            (loss + 0.5 * ctc).backward()
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            step += 1
            if time.monotonic() - shown > 60:
                shown = time.monotonic()
                print(f"{(shown - begun) / 60:5.1f} min  step {step}  epoch {step * size / len(strips):.2f}  "
                      f"loss {loss.item():.3f}  ctc {ctc.item():.3f}  error {check():.2%}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "models" / "lines")
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--epochs", type=float, default=5)
    arguments = parser.parse_args()
    torch.manual_seed(5)
    files = fonts()
    unseen, seen = files[::12], [file for at, file in enumerate(files) if at % 12]
    print(f"{len(seen)} font files to learn from, {len(unseen)} kept back", flush=True)
    begun = time.monotonic()
    strips, texts = render(arguments.lines, seen, 1, held_out=False)
    known, known_texts = render(2_000, seen, 2, held_out=True)
    strange, strange_texts = render(1_000, unseen, 3, held_out=True)
    print(f"{len(strips)} lines rendered in {time.monotonic() - begun:.0f} s", flush=True)
    model = make_model()
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)
    train(model, strips, texts, epochs=arguments.epochs,
          check=lambda: error_rate(known_texts[:200], read(model, known[:200])))  # fmt: skip
    model = model.to(torch.bfloat16)
    model.save_pretrained(arguments.out)
    save_tokenizer(arguments.out)
    image = {"size": {"height": HEIGHT, "width": WIDTH}, "image_mean": [0.5], "image_std": [0.5]}
    (arguments.out / "preprocessor_config.json").write_text(json.dumps(image, indent=2) + "\n")
    model = model.float()
    print(f"held-out lines, fonts seen: {error_rate(known_texts, read(model, known)):.2%}")
    print(f"held-out lines, fonts not seen: {error_rate(strange_texts, read(model, strange)):.2%}")


if __name__ == "__main__":
    main()
