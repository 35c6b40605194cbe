"""From a model's files to a model that runs: configuration -> spec -> checked, packed weights, and its tokenizer."""

import logging
from dataclasses import dataclass

import torch

from handful.model.calibration import TEXT
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.decoder import Decoder, Int8
from handful.model.families import spec_from_config
from handful.model.fingerprint import fingerprint
from handful.model.precision import Numbers, resolve_device, resolve_numbers
from handful.model.source import ModelFiles
from handful.model.spec import ModelSpec
from handful.model.tokenizer import Tokenizer
from handful.types import Device, ModelInfo, Precision

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A native model in memory."""

    files: ModelFiles
    spec: ModelSpec
    decoder: Decoder
    tokenizer: Tokenizer
    info: ModelInfo


def load_model(files: ModelFiles, precision: Precision = "auto", device: Device = "auto") -> LoadedModel:
    """Load a model of a native family.

    Raises NotNativeError (a CheckpointError) where the configuration asks for what handful's decoder doesn't do,
    CheckpointError where the files are damaged, incomplete or don't fit each other, NotFoundError where one is missing,
    InvalidParameterError for a device or precision that isn't there.
    """
    place = resolve_device(device)
    numbers = resolve_numbers(precision, place)
    spec = spec_from_config(read_config(files.folder))
    tokenizer = Tokenizer(files.folder)
    if tokenizer.vocab_size > spec.vocab_size:  # common and harmless: a padding token that was added to the tokenizer
        _log.warning("%s: the tokenizer has %d ids, the model %d", files.name, tokenizer.vocab_size, spec.vocab_size)
    with Checkpoint(files.folder) as checkpoint:
        decoder = Decoder.load(spec, checkpoint, numbers.dtype, place, _int8(numbers, spec, tokenizer))
    info = ModelInfo(
        name=files.name,
        architecture=spec.architecture,
        engine="native",
        num_parameters=decoder.num_parameters,
        context_length=spec.context_length,
        vocab_size=spec.vocab_size,
        hidden_size=spec.hidden_size,
        num_layers=spec.num_layers,
        precision=numbers.name,
        device=place.type,
        source=files.source,
        revision=files.revision,
        weight_bytes=decoder.weight_bytes,
        details={
            "kv_bytes_per_token": str(spec.kv_bytes_per_token(numbers.dtype)),
            "files": fingerprint(files.folder),
        },
    )
    _log.info("loaded %s: %s, %d parameters, %s", info.name, info.architecture, info.num_parameters, info.precision)
    return LoadedModel(files, spec, decoder, tokenizer, info)


def _int8(numbers: Numbers, spec: ModelSpec, tokenizer: Tokenizer) -> Int8 | None:
    if not numbers.int8:
        return None
    known = [token for token in tokenizer.encode(TEXT) if token < spec.vocab_size]
    return Int8(numbers.int8, torch.tensor(known or [0]))
