"""A GGUF file becomes a folder in Hugging Face layout: safetensors, config.json and a tokenizer, once.

`gguf_plan.py` says what is written.
"""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from handful.errors import CheckpointError
from handful.model.gguf_file import GgufFile
from handful.model.gguf_plan import plan_gguf

# Written into each converted folder; a change of what is written makes old folders be converted again.
FORMAT = 1


def convert_gguf(
    path: Path, folder: Path, progress: Callable[[int, int], None] = lambda _written, _total: None
) -> None:
    """Write the model in the GGUF file `path` into the existing, empty `folder`. Not atomic: see `source_cache`.

    Raises NotFoundError without such a file; CheckpointError when it is damaged or of an architecture, a quantisation
    or a tokenizer that isn't read; OSError when the disk is full.
    """
    from handful.model.gguf_weights import write_weights  # imports torch, which takes seconds

    with GgufFile(path) as file, _named(path):
        plan = plan_gguf(file)
        write_weights(folder / "model.safetensors", file, plan.tensors, progress)
        write_text(folder / "tokenizer.json", plan.tokenizer.raw.to_str())
        write_json(folder / "tokenizer_config.json", plan.tokenizer.config())
        write_json(folder / "generation_config.json", plan.end_tokens)
        write_json(folder / "config.json", plan.config)


def check_gguf(path: Path) -> None:
    """Read all that isn't a weight, without torch, and write nothing. Raises NotFoundError, CheckpointError."""
    with GgufFile(path) as file, _named(path):
        plan_gguf(file).tokenizer.raw.to_str()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What is wrong with a file says with which."""
    try:
        yield
    except CheckpointError as problem:
        if problem.message.startswith(path.name):
            raise
        raise CheckpointError(f"{path.name} can't be read: {problem.message}.", fix=problem.fix) from None


def write_text(path: Path, text: str) -> None:
    """Write and sync one file."""
    with path.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write and sync one JSON file, readable by people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
