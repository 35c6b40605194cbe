"""Models of the Hugging Face Hub: the files that are needed, all of one commit, in huggingface_hub's own cache.

huggingface_hub reads HF_HOME, HF_TOKEN, HF_ENDPOINT and HF_HUB_OFFLINE itself. Invariant: whatever goes wrong on the
way is one error of handful's that says what to do.
"""

import errno
from dataclasses import dataclass, field
from pathlib import Path

from handful.checks import check_revision
from handful.errors import CheckpointError, HandfulError, NotFoundError, NotReadyError
from handful.model.download_progress import bar_class
from handful.model.source_cache import disk_error

_TEXTS = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "source.spm",
    "target.spm",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "[0-9]_*/config.json",
    "[0-9]_*/model.safetensors",
    "[0-9]_*/pytorch_model.bin",
    "chat_template.jinja",
)
_SAFETENSORS = ("model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors")
_PYTORCH = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*-of-*.bin")
_SUBFOLDERS = ("[!0-9]*/*", "[0-9][!_]*/*")  # but for a sentence encoder's own, `1_Pooling`
_MAIN = "main"


@dataclass(frozen=True, slots=True)
class HubAccess:
    """Whose token asks the Hub (None: HF_TOKEN or a saved one; False: none at all), and which cache keeps the files."""

    token: str | bool | None = field(default=None, repr=False)
    cache: Path | None = None


_OWN = HubAccess()


def fetch(name: str, revision: str | None, *, local_only: bool, access: HubAccess = _OWN) -> tuple[Path, str]:
    """The snapshot folder and the commit of the Hub model `name`, downloaded unless it is cached.

    `pytorch_model.bin` is only fetched where there is no safetensors file. Raises NotFoundError (no such model or
    revision, or no right to it, or not cached while offline), NotReadyError (the Hub or the network failed; what was
    loaded is kept), CheckpointError (no weights that are read), InvalidParameterError, UserError (the disk is full).
    """
    from huggingface_hub.errors import HFValidationError

    check_revision("revision", revision)
    try:
        folder = _snapshot(name, revision or _MAIN, _TEXTS + _SAFETENSORS, local_only, access)
        if not _holds(folder, _SAFETENSORS):
            # By commit: what the branch is now may be another than a moment ago.
            folder = _snapshot(name, folder.name, _TEXTS + _PYTORCH, local_only, access)
    except HFValidationError as problem:
        raise NotFoundError(f"{name!r} is not the name of a model: {problem}.", fix="Check the spelling.") from None
    except _failures() as problem:
        raise _explained(problem, name, revision, local_only) from problem
    _check_complete(folder, name)
    return folder, folder.name


def _snapshot(name: str, revision: str, patterns: tuple[str, ...], local_only: bool, access: HubAccess) -> Path:
    from huggingface_hub import snapshot_download

    found = snapshot_download(
        name,
        revision=revision,
        allow_patterns=list(patterns),
        ignore_patterns=list(_SUBFOLDERS),
        local_files_only=local_only,
        token=access.token,
        cache_dir=access.cache,
        library_name="handful",
        tqdm_class=bar_class(),
    )
    return Path(found)


def _failures() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises: its own classes, the HTTP library's base class (httpx or httpx2), xet's errors."""
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    return (OSError, EntryNotFoundError, RuntimeError, *(b for b in HfHubHTTPError.__bases__ if b is not OSError))


def _holds(folder: Path, patterns: tuple[str, ...]) -> bool:
    return any(next(folder.glob(pattern), None) is not None for pattern in patterns)


def _check_complete(folder: Path, name: str) -> None:
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{name} has no config.json.", fix="Take a model made for Transformers, or a GGUF file.")
    if not _holds(folder, _SAFETENSORS + _PYTORCH):
        raise CheckpointError(
            f"{name} has no weights that are read (model.safetensors or pytorch_model.bin).", fix="Take another model."
        )


def _explained(problem: Exception, name: str, revision: str | None, local_only: bool) -> HandfulError:
    """The one error for a failure of the Hub's client."""
    from huggingface_hub import constants, errors

    if isinstance(problem, errors.GatedRepoError):
        return NotFoundError(
            f"{name} is open only to those who accepted its conditions.",
            fix=f"Accept them on its page of the Hub, then set HF_TOKEN to your access token ({_status(problem)}).",
        )
    if isinstance(problem, errors.RepositoryNotFoundError):
        return NotFoundError(
            f"There is no model {name} on the Hub, or it is private.",
            fix="Check the spelling; for a private model set HF_TOKEN to your access token.",
        )
    if isinstance(problem, errors.RevisionNotFoundError):
        return NotFoundError(f"{name} has no revision {revision!r}.", fix="Name a branch, a tag or a full commit.")
    if isinstance(problem, errors.LocalEntryNotFoundError):
        if local_only or constants.HF_HUB_OFFLINE:
            offline = " (HF_HUB_OFFLINE is set)" if constants.HF_HUB_OFFLINE else ""
            fix = f"With a network: handful models pull {name}"
            return NotFoundError(f"{name} is not, or not wholly, in the cache{offline}.", fix=fix)
        cause = problem.__cause__
        if isinstance(cause, errors.HfHubHTTPError):
            return _http_failure(cause, name)
        return _unreachable(cause or problem)
    if isinstance(problem, errors.HfHubHTTPError):
        return _http_failure(problem, name)
    if isinstance(problem, OSError) and problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return disk_error(problem, Path(constants.HF_HUB_CACHE))
    return _unreachable(problem)


def _http_failure(problem: Exception, name: str) -> HandfulError:
    status = _status(problem)
    if status in ("HTTP 401", "HTTP 403"):
        return NotFoundError(f"The Hub refuses access to {name} ({status}).", fix="Set HF_TOKEN to a token that may.")
    return NotReadyError(f"The Hub failed while loading {name} ({status}).", fix="Try again in a while.")


def _status(problem: Exception) -> str:
    response = getattr(problem, "response", None)
    return f"HTTP {response.status_code}" if response is not None else "no answer"


def _unreachable(problem: BaseException) -> NotReadyError:
    line = str(problem).strip().partition("\n")[0][:200]
    return NotReadyError(
        f"Loading from the Hub broke off ({type(problem).__name__}: {line}).",
        fix="Check the network and run the command again: it goes on with what is already here.",
    )
