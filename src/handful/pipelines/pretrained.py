"""A model's network and tokenizer through Transformers: from local files only, never with code from a checkpoint."""

import importlib.util
import logging
from typing import TYPE_CHECKING, Any

from handful.errors import CheckpointError
from handful.model.source import ModelFiles

if TYPE_CHECKING:
    from torch import dtype as Dtype

_log = logging.getLogger(__name__)
_UNUSED = ("pooler.",)  # BERT's pooler: no answer of handful's reads it, and sentence encoders leave it out


def load_pretrained(class_name: str, files: ModelFiles, dtype: "Dtype", purpose: str) -> Any:
    """The model of a Transformers class (`AutoModelForMaskedLM`), in eval mode on the CPU.

    `purpose` says in an error what lacks weights: "a causal language model". Raises CheckpointError naming what is
    wrong with the files, or that Transformers isn't installed.
    """
    auto_class = _transformers_class(class_name, files)
    try:
        model, report = auto_class.from_pretrained(
            files.folder,
            dtype=dtype,
            local_files_only=True,
            trust_remote_code=False,
            weights_only=True,
            output_loading_info=True,
        )
    except Exception as error:
        raise _unloadable(files, error) from error
    missing = [name for name in sorted(report["missing_keys"]) if not _is_unused(name)]
    if missing:
        raise CheckpointError(
            f"{files.name} lacks weights that {purpose} needs: {', '.join(missing[:3])}",
            fix="It may be a model of another kind, or an incomplete download.",
        )
    return model.eval()


def load_tokenizer(files: ModelFiles) -> Any:
    """The model's tokenizer as Transformers has it. Raises CheckpointError."""
    auto_class = _transformers_class("AutoTokenizer", files)
    try:
        return auto_class.from_pretrained(files.folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:
        raise _unloadable(files, error) from error


def is_installed() -> bool:
    """Whether Transformers is, without the seconds that importing it takes."""
    return importlib.util.find_spec("transformers") is not None


def check_installed(files: ModelFiles) -> None:
    """Raise CheckpointError where Transformers isn't installed."""
    if not is_installed():
        raise _not_installed(files)


def _not_installed(files: ModelFiles) -> CheckpointError:
    problem = f"What was asked of {files.name} runs through Transformers, which isn't installed."
    return CheckpointError(problem, fix="Install it: pip install 'handful[transformers]'")


def _transformers_class(name: str, files: ModelFiles) -> Any:
    try:
        import transformers
        from transformers.utils import logging as notices
    except ImportError:
        raise _not_installed(files) from None
    notices.disable_progress_bar()  # of mapping weights, which takes milliseconds
    notices.set_verbosity_error()  # what weights are missing is told by handful's own error
    return getattr(transformers, name)


def _is_unused(weight: str) -> bool:
    return any(f".{part}" in f".{weight}" for part in _UNUSED)


def _unloadable(files: ModelFiles, error: Exception) -> CheckpointError:
    _log.debug("Transformers couldn't load %s", files.folder, exc_info=error)
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return CheckpointError(
        f"Transformers can't load {files.name}: {first_line[:300]}",
        fix="handful runs no code from a checkpoint; the model must be one that Transformers has itself.",
    )
