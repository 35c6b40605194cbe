"""Models in their exact published shapes with random weights, for speed where the real ones are not to be had.

    python benchmarks/shapes.py gpt-neo-125m-shape            (makes it in the cache, once, and prints where it is)
    python benchmarks/generate.py --model gpt-neo-125m-shape

Every benchmark takes these names for `--model`. Speed does not depend on the values, but whether int8 may be taken
does, so they are as GPT-Neo's training began: Transformers' own random values, the queries' divided by the root of a
head's size. GPT-Neo doesn't scale its scores; Mesh TensorFlow, which it was trained with, has put that factor into
these values (`fold_scaling_into_initializer`). Without it every head looks at one position alone, and any rounding
changes which.

The weights are float32, as the published ones are. The tokenizer is the default model's, so that prompts have the
reference lengths.
"""

import argparse
import json
import math
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
    # In no published shape: so little to compute that what is left is the server.
    "tiny-shape": _NEO
    | {"num_layers": 2, "hidden_size": 64, "num_heads": 2, "attention_types": [[["global", "local"], 1]]},
    "gpt-neo-125m-shape": _NEO
    | {"num_layers": 12, "hidden_size": 768, "num_heads": 12, "attention_types": [[["global", "local"], 6]]},
    "gpt-neo-1.3b-shape": _NEO
    | {"num_layers": 24, "hidden_size": 2048, "num_heads": 16, "attention_types": [[["global", "local"], 12]]},
    "gpt-neo-2.7b-shape": _NEO
    | {"num_layers": 32, "hidden_size": 2560, "num_heads": 20, "attention_types": [[["global", "local"], 16]]},
}


def main() -> None:
    """Make a checkpoint folder, or with `--check` only count the parameters that it would have."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=SHAPES)
    parser.add_argument("--check", action="store_true", help="count the parameters and write nothing")
    arguments = parser.parse_args()
    found: dict[str, Any] = {"name": arguments.name, "parameters": num_parameters(arguments.name)}
    if not arguments.check:
        found["folder"] = folder_of(arguments.name)
    print(json.dumps(found))


def folder_of(model: str) -> str:
    """The folder of a shape, made on the first use; any other name stands as it is."""
    if model not in SHAPES:
        return model
    folder = settings().cache_folder / "shapes-2" / model
    if not (folder / "tokenizer.json").is_file():
        _write(model, folder)
    return str(folder)


def num_parameters(name: str) -> int:
    """Parameters of a shape, the tied embedding counted once; no memory is taken for them."""
    with torch.device("meta"):
        return sum(math.prod(parameter.shape) for parameter in _model(name).parameters())


def _model(name: str) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    values = dict(SHAPES[name])
    config = AutoConfig.for_model(values.pop("model_type"), **values, eos_token_id=0, bos_token_id=0)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32)


def _write(name: str, folder: Path) -> None:
    """The tokenizer is written last: a folder that has it is whole."""
    torch.manual_seed(0)
    model = _model(name)
    with torch.no_grad():
        for layer in model.transformer.h:
            attention = layer.attn.attention
            attention.q_proj.weight /= math.sqrt(attention.head_dim)
    model.save_pretrained(folder)
    source = resolve("default", settings=settings()).folder
    for file in ("tokenizer_config.json", "tokenizer.json"):
        shutil.copy(source / file, folder / file)


if __name__ == "__main__":
    main()
