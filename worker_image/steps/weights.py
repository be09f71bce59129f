"""Lay a TrOCR checkpoint down as the GPU uses it: bfloat16, safetensors, nothing else that the hub keeps beside it.

    weights.py MODEL FOLDER

MODEL is a name on Hugging Face or a folder. Half the bytes of the original; GPUs compute in bfloat16 anyway.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import transformers


def lay_down(name: str, folder: Path) -> int:
    """Write the checkpoint; how many bytes it takes."""
    model = transformers.VisionEncoderDecoderModel.from_pretrained(name, dtype=torch.bfloat16)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(name).save_pretrained(folder)
    image, _ = transformers.ImageProcessingMixin.get_image_processor_dict(name)
    (folder / "preprocessor_config.json").write_text(json.dumps(image))
    return sum(path.stat().st_size for path in folder.iterdir())


if __name__ == "__main__":
    print(f"{lay_down(sys.argv[1], Path(sys.argv[2])):,} bytes")
