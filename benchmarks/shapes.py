"""Models in their exact published shapes with random weights, for speed where the real ones are not to be had.

    python benchmarks/shapes.py EleutherAI/gpt-neo-125m FOLDER

Speed does not depend on the values. The tokenizer is the default model's, so that prompts have the reference lengths.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

import torch

from handful.config import settings
from handful.model.source import resolve

_NEO: dict[str, Any] = {
    "model_type": "gpt_neo",
    "vocab_size": 50257,
    "max_position_embeddings": 2048,
    "window_size": 256,
}
SHAPES: dict[str, dict[str, Any]] = {
    "EleutherAI/gpt-neo-125m": _NEO
    | {"num_layers": 12, "hidden_size": 768, "num_heads": 12, "attention_types": [[["global", "local"], 6]]},
    "EleutherAI/gpt-neo-1.3B": _NEO
    | {"num_layers": 24, "hidden_size": 2048, "num_heads": 16, "attention_types": [[["global", "local"], 12]]},
    "EleutherAI/gpt-neo-2.7B": _NEO
    | {"num_layers": 32, "hidden_size": 2560, "num_heads": 20, "attention_types": [[["global", "local"], 16]]},
}


def main() -> None:
    """Write a checkpoint folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    arguments = parser.parse_args()
    from transformers import AutoConfig, AutoModelForCausalLM

    values = dict(SHAPES[arguments.name])
    config = AutoConfig.for_model(values.pop("model_type"), **values, eos_token_id=0, bos_token_id=0)
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, arguments.dtype))
    model.save_pretrained(arguments.folder)
    source = resolve("default", settings=settings()).folder
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(source / file, arguments.folder / file)
    print(json.dumps({"folder": str(arguments.folder), "parameters": sum(p.numel() for p in model.parameters())}))


if __name__ == "__main__":
    main()
