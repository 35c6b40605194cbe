"""`load`: a model's name, folder or file becomes something that answers."""

from handful.config import Settings, settings
from handful.local.model import LocalModel
from handful.local.native import native_model
from handful.local.threads import set_threads
from handful.local.transformers_backend import transformers_model
from handful.model.checkpoint import read_config
from handful.model.families import is_native
from handful.model.load import load_model
from handful.model.ops.native.loading import limit_instructions
from handful.model.ops.native.openmp import release_workers
from handful.model.source import ModelFiles, resolve
from handful.pipelines.tasks import is_causal, task_of, unfit
from handful.types import Device, Precision


def load(
    name: str = "default",
    *,
    precision: Precision | None = None,
    device: Device | None = None,
    revision: str | None = None,
    configuration: Settings | None = None,
) -> LocalModel:
    """Load a model: `default`, a Hub id, a local folder, or a `.gguf` file.

    `precision` and `device` override the settings. Architectures that handful's own decoder doesn't know run through
    Transformers (`info.engine` says which). Raises NotFoundError, CheckpointError, NotReadyError.
    """
    used = configuration or settings()
    set_threads(used)
    limit_instructions(used.instructions)
    files = resolve(name, revision=revision, settings=used)
    chosen = (precision or used.precision, device or used.device)
    try:
        if not is_native(read_config(files.folder)):
            _check_writes(files)
            return transformers_model(files, *chosen, used)
        model = native_model(load_model(files, *chosen), used)
        model.files = files
        return model
    finally:
        release_workers()  # from now on the engine's thread computes


def _check_writes(files: ModelFiles) -> None:
    """Refuse a model that is made for something other than text generation before anything is loaded."""
    task = task_of(files.folder)
    if task is not None and task != "text-generation" and not is_causal(files.folder):
        raise unfit(files.name, task, "text-generation")
