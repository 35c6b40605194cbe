"""Settings: frozen, declared once, and the only place that reads the environment.

Each field can be set as `HANDFUL_<FIELD>` (`HANDFUL_HOME=/data/handful`). Command-line options override them.
The Hub's own variables (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE, ...) are read by huggingface_hub itself.
"""

import difflib
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from handful.control_groups import usable_memory
from handful.errors import InvalidParameterError
from handful.types import Device, Instructions, Precision

_KV_MEMORY_MB = 2048
_PREFIX = "HANDFUL_"
_NEAR = 0.8  # of difflib's ratio: a letter or a word left out


def _kv_memory_mb() -> int:
    """What a cache that fills up in the course of a day may take without the process being ended for it."""
    there = usable_memory()
    return _KV_MEMORY_MB if there is None else max(16, min(_KV_MEMORY_MB, (there >> 20) // 4))


class Settings(BaseSettings):
    """How handful runs on this machine."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, env_ignore_empty=True, frozen=True, extra="ignore")

    home: Path = Field(default=Path("~/.cache/handful"), description="Cache folder: converted models.")
    model: str = Field(default="default", description="Model used where a task or command names none.")
    precision: Precision = Field(default="auto", description="float32 is exact; auto takes the fastest that is safe.")
    device: Device = Field(default="auto", description="cpu or cuda; auto takes a GPU when there is one.")
    instructions: Instructions = Field(
        default="all",
        description="The most that handful's own kernels use of the processor: all, avx512, avx-vnni, avx2 or none.",
    )
    threads: int = Field(default=0, ge=0, description="CPU threads of the engine; 0: as many as this process may use.")
    kv_memory_mb: int = Field(
        default_factory=_kv_memory_mb,
        ge=16,
        description="Most memory for keys and values, in MiB a model; else 2048 or a quarter of what there is.",
    )
    max_batched_tokens: int = Field(default=1024, ge=16, description="Tokens computed in one step of the engine.")
    max_running_requests: int = Field(default=256, ge=1, description="Completions computed side by side.")
    drafts: bool = Field(default=True, description="Guess ahead from a prompt's own text: fewer steps, the same text.")
    cuda_graphs: bool = Field(default=True, description="Record decoding steps once and replay them, on a GPU.")
    max_queued_requests: int = Field(default=1024, ge=1, description="Completions that may wait; past it: 429.")
    max_queue_share: float = Field(default=0.5, gt=0, le=1, description="Part of the queue that one account may fill.")
    max_input_characters: int = Field(default=1_000_000, ge=1, description="Longest text accepted as one input.")
    max_body_mb: int = Field(default=16, ge=1, description="Largest HTTP request body, in MiB.")
    max_upload_mb: int = Field(default=20_480, ge=1, description="Unregistered uploads of an account, in MiB.")
    max_batch_inputs: int = Field(default=1024, ge=1, description="Most inputs in one HTTP request.")
    request_timeout_s: float = Field(default=600.0, gt=0, description="Longest time a request may take in all.")
    database_url: str = Field(
        default="sqlite:///~/.local/share/handful/handful.db",
        description="Where accounts, API tokens and usage are kept: a SQLite file, or postgresql://...",
    )
    model_memory_mb: int = Field(
        default=0, ge=0, description="Room for models with their keys and values, in MiB; 0: all."
    )
    response_cache_mb: int = Field(default=64, ge=0, description="Room for answers to be given again, in MiB; 0: none.")
    response_cache_entries: int = Field(default=100_000, ge=1, description="Most answers that are kept.")
    token: SecretStr | None = Field(default=None, description="API token for commands whose model is a URL.")
    drain_timeout_s: float = Field(default=30.0, ge=0, description="How long SIGTERM waits for accepted requests.")

    @property
    def cache_folder(self) -> Path:
        """`home` with `~` expanded; not necessarily there yet."""
        return self.home.expanduser()


def _check_names(variables: Iterable[str]) -> None:
    """Refuse what is nearly a setting. Others may be somebody else's: Kubernetes sets HANDFUL_PORT for a service."""
    known = {name.upper() for name in Settings.model_fields}
    for variable in variables:
        name = variable.removeprefix(_PREFIX)
        if name != variable and name not in known:
            for near in difflib.get_close_matches(name, known, n=1, cutoff=_NEAR):
                raise InvalidParameterError(variable, "is no setting.", fix=f"Did you mean `{_PREFIX}{near}`?")


@cache
def settings() -> Settings:
    """The settings of this process, read once.

    Raises InvalidParameterError for a variable that holds what can't be, or is a setting's name but for a slip.
    """
    _check_names(os.environ)
    try:
        return Settings()
    except ValidationError as error:
        wrong = error.errors(include_url=False)[0]
        problem = f"is {wrong['input']!r}: {wrong['msg'].removeprefix('Input ')}."
        raise InvalidParameterError(f"HANDFUL_{wrong['loc'][0]}".upper(), problem) from None
