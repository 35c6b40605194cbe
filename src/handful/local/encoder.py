"""`load_encoder`: a sentence encoder's name becomes something that turns texts into vectors."""

from handful.config import Settings, settings
from handful.local.threads import set_threads
from handful.model.source import resolve
from handful.pipelines.encoder import Encoder
from handful.types import Device


def load_encoder(
    name: str = "default-embeddings",
    *,
    device: Device | None = None,
    revision: str | None = None,
    configuration: Settings | None = None,
) -> Encoder:
    """Load a sentence-transformers model: `default-embeddings`, a Hub id or a local folder.

    `device` overrides the settings. Raises NotFoundError, CheckpointError (a model of another kind), NotReadyError.
    """
    used = configuration or settings()
    set_threads(used)
    return Encoder(resolve(name, revision=revision, settings=used), device or used.device)
