"""The process that looks at a model's files before another one opens them: `confined.start(this module, path)`.

It reads what has a form that can be wrong, with the same code as loading does: configurations, the headers of weights,
a GGUF file's metadata and table, tokenizers. It says in lines of JSON which file it reads, and at the end what is wrong
with one, or nothing. A file that aborts its reader, or has it compute for ever or fill the memory, ends this process.
"""

import json
import resource
import signal
import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from handful.confined import NOTHING_WRITTEN, limit
from handful.errors import CheckpointError, HandfulError, NotFoundError
from handful.model.checkpoint import Checkpoint, has_weights, read_config, read_json

MEMORY_BYTES = 2 << 30
"""Beside the weights, which are mapped. A vocabulary of 256k tokens takes 0.6 GiB."""
PROCESSOR_S = 30
WALL_S = 60
TOO_LARGE = "takes more memory to read than any model's should"
_TORCH_BYTES = 16 << 30  # of addresses: a build for GPUs maps gigabytes of libraries
_WEIGHTS = (".safetensors", ".bin", ".gguf")
_JSON = (
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
)
_SENTENCEPIECE = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
_MAX_SAID = 300


def examine(path: Path) -> None:
    """Read a model's folder, or its GGUF file. What isn't there is for who loads it to miss, but for a config.

    Raises CheckpointError, NotFoundError, and whatever else the files make their readers raise.
    """
    if path.is_file() or (path.suffix == ".gguf" and not path.is_dir()):
        from handful.model.gguf_convert import check_gguf

        _say({"file": path.name})
        return check_gguf(path)
    _say({"file": "config.json"})
    read_config(path)
    for folder in (path, *sorted(path.glob("[0-9]_*/"))):  # a sentence encoder's other modules
        _examine_json(folder)
        if has_weights(folder):
            _examine_weights(folder)
    return _examine_tokenizer(path)


def _examine_json(folder: Path) -> None:
    for file in (folder / name for name in ("config.json", *_JSON)):
        if file.is_file():
            _say({"file": file.name})
            read_json(file)


def _examine_weights(folder: Path) -> None:
    _say({"file": "the weights"})
    with Checkpoint(folder, framework="np") as checkpoint:  # without torch, which takes seconds to import
        for tensor in checkpoint.names:
            checkpoint.shape(tensor)


def _examine_tokenizer(folder: Path) -> None:
    """The tokenizer that loading would read, in the order in which it looks."""
    for file in sorted(folder.glob("*.spm")):
        _examine_sentencepiece(file)
    if (folder / "tokenizer.json").is_file():
        return _try_tokenizer(folder, "tokenizer.json")
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return _try_tokenizer(folder, "merges.txt")
    for file in (folder / name for name in _SENTENCEPIECE):
        if file.is_file():
            _examine_sentencepiece(file)
    return None


def _try_tokenizer(folder: Path, file: str) -> None:
    from handful.model.tokenizer import Tokenizer

    _say({"file": file})
    try:
        Tokenizer(folder)
    except HandfulError:
        raise
    except Exception as problem:  # noqa: BLE001 - tokenizers raises bare Exception
        raise CheckpointError(f"{file} makes no tokenizer: {_line(problem)}.", fix="Use another tokenizer.") from None


def _examine_sentencepiece(file: Path) -> None:
    try:
        from sentencepiece import SentencePieceProcessor
    except ImportError:  # then nobody else reads it either
        return
    _say({"file": file.name})
    try:
        SentencePieceProcessor(model_file=str(file))
    except (OSError, RuntimeError, ValueError) as problem:
        raise CheckpointError(f"{file.name} can't be read: {_line(problem)}.", fix="Download it again.") from None


def judged(path: Path) -> dict[str, str]:
    """`{"ok": ""}`, or the error: its class, message and fix."""
    try:
        examine(path)
    except (CheckpointError, NotFoundError) as error:
        return {"error": type(error).__name__, "message": error.message, "fix": error.fix}
    except MemoryError:
        return {"problem": TOO_LARGE}
    except BaseException as problem:  # noqa: BLE001 - a panic of Rust code is none of Exception
        return {"problem": f"makes its reader fail ({type(problem).__name__}: {_line(problem)})"}
    return {"ok": ""}


def _line(problem: BaseException) -> str:
    return str(problem).strip().partition("\n")[0][:_MAX_SAID]


def _say(said: dict[str, str]) -> None:
    print(json.dumps(said), flush=True)


def limit_process(path: Path) -> None:
    """Bound this process: time, memory, and that it writes nothing and starts nothing."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    mapped = sum(file.stat().st_size for file in files if file.suffix in _WEIGHTS)
    mapped += _TORCH_BYTES if any(file.suffix == ".bin" for file in files) else 0
    signal.alarm(WALL_S)  # also where nobody waits any more
    times = {resource.RLIMIT_CPU: PROCESSOR_S}
    limit(NOTHING_WRITTEN | times | {resource.RLIMIT_AS: min(MEMORY_BYTES + mapped, sys.maxsize)})


def import_readers(path: Path) -> None:
    """Import what will read the files before anything is bounded: importing is no affair of theirs.

    (torch imports dill where it is installed, which looks for a folder that it could write in.)
    """
    readers = ["gguf", "handful.model.gguf_convert"] if path.suffix == ".gguf" else ["handful.model.tokenizer"]
    readers += ["torch"] if any(path.glob("*.bin")) else []
    readers += ["sentencepiece"] if any(path.glob("*.model")) or any(path.glob("*.spm")) else []
    for reader in readers:
        with suppress(ImportError):  # one that is missing is missed when it is needed
            import_module(reader)


def main() -> None:
    """Examine the path that is the one argument."""
    path = Path(sys.argv[1])
    import_readers(path)
    limit_process(path)
    _say(judged(path))
