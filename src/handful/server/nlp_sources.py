"""Models of both kinds by one name: what a model is for, found out before it is loaded, and how it is loaded.

torch and Transformers are imported when a model is loaded, in its loading thread.
"""

from dataclasses import replace
from pathlib import Path
from typing import cast

from handful.config import settings
from handful.errors import HandfulError
from handful.protocol.nlp_tasks import TEXT_GENERATION
from handful.server.served_model import ServedModel
from handful.types import Device, Precision


def purpose_of(model: str) -> str | None:
    """The task of a model by its files, as far as they are on this disk; None for one that is yet to be downloaded.

    Files that can't be read are a language model's: loading it says what is wrong with them.
    """
    from handful.model.source import DEFAULT_NAME, EMBEDDINGS_NAMES, resolve
    from handful.pipelines.tasks import task_of

    if model in EMBEDDINGS_NAMES:
        return "sentence-similarity"
    path = Path(model).expanduser()
    try:
        if path.is_dir():
            return task_of(path) or TEXT_GENERATION
        if path.is_file() or model == DEFAULT_NAME:
            return TEXT_GENERATION
        return task_of(resolve(model, settings=settings(), local_only=True).folder) or TEXT_GENERATION
    except HandfulError:
        return TEXT_GENERATION if path.exists() else None


def load_any(name: str, precision: Precision | None, device: Device | None) -> ServedModel:
    """Load a model of either kind; None for what the settings say.

    Raises InvalidParameterError (a precision that it can't run in), NotFoundError, CheckpointError, NotReadyError.
    """
    from handful.local import load
    from handful.local.threads import set_threads
    from handful.model.fingerprint import fingerprint
    from handful.model.precision import resolve_device
    from handful.model.source import resolve
    from handful.pipelines.load import load_nlp_model
    from handful.pipelines.tasks import task_of
    from handful.server.nlp_served import ServedNlpModel

    used = settings()
    files = resolve(name, settings=used)
    if task_of(files.folder) in (None, TEXT_GENERATION):
        return cast(ServedModel, load(name, precision=precision, device=device))
    set_threads(used)
    model = load_nlp_model(files, device or used.device, precision or used.precision)
    place = str(resolve_device(device or used.device))
    served = ServedNlpModel(model, name, device=place, max_waiting_items=used.max_queued_requests)
    served.info = replace(served.info, details={"files": fingerprint(files.folder)})  # part of a kept answer's key
    return served
