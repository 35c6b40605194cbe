"""From a model's files to a model that runs: configuration -> spec -> checked, packed weights, and its tokenizer."""

import logging
import math
from dataclasses import dataclass

import torch

from handful.control_groups import usable_memory
from handful.errors import InvalidParameterError
from handful.model.calibration import TEXT, Calibration
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.decoder import Decoder
from handful.model.families import spec_from_config
from handful.model.fingerprint import fingerprint
from handful.model.heap import give_back_memory
from handful.model.layers import LINEAR_KINDS
from handful.model.load_progress import told
from handful.model.precision import dtype_name, resolve_device, resolve_numbers
from handful.model.source import ModelFiles
from handful.model.spec import ModelSpec
from handful.model.tokenizer import Tokenizer
from handful.types import Device, ModelInfo, Precision

_log = logging.getLogger(__name__)

MAX_DIVERGENCE = 0.05  # nats a token; the default model's is 0.0034


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
    spec = spec_from_config(read_config(files.folder))
    numbers = resolve_numbers(precision, place, spec.hidden_size)
    tokenizer = Tokenizer(files.folder, spec.vocab_size)
    if tokenizer.vocab_size > spec.vocab_size:  # common and harmless: a padding token that was added to the tokenizer
        _log.warning("%s: the tokenizer has %d ids, the model %d", files.name, tokenizer.vocab_size, spec.vocab_size)
    with Checkpoint(files.folder) as checkpoint, told(files.name, checkpoint) as tensors:
        _warn_of_memory(files, checkpoint, 1 if numbers.int8 else numbers.dtype.itemsize, place)
        calibration = _calibration(spec, tokenizer, precision) if numbers.int8 else None
        decoder = Decoder.load(spec, tensors, numbers.dtype, place, calibration)
    if calibration is not None and calibration.forbids(decoder.divergence):
        _log.warning("%s: int8 moves its predictions by %.3f nats; not taken", files.name, decoder.divergence)
    give_back_memory()
    if precision == "int8" and not any(decoder.quantised):
        problem = f"is int8, in which no linear of {files.name} is exact enough."
        raise InvalidParameterError("precision", problem, fix="Use auto.")
    info = ModelInfo(
        name=files.name,
        architecture=spec.architecture,
        engine="native",
        num_parameters=decoder.num_parameters,
        context_length=spec.context_length,
        vocab_size=spec.vocab_size,
        hidden_size=spec.hidden_size,
        num_layers=spec.num_layers,
        precision="int8" if any(decoder.quantised) else dtype_name(numbers.dtype),
        device=place.type,
        source=files.source,
        revision=files.revision,
        weight_bytes=decoder.weight_bytes,
        details={
            "kv_bytes_per_token": str(spec.kv_bytes_per_token(numbers.dtype)),
            "files": fingerprint(files.folder),
            **_described(decoder),
        },
    )
    _log.info("loaded %s: %s, %d parameters, %s", info.name, info.architecture, info.num_parameters, info.precision)
    return LoadedModel(files, spec, decoder, tokenizer, info)


def _warn_of_memory(files: ModelFiles, checkpoint: Checkpoint, bytes_each: int, place: torch.device) -> None:
    """Say so where the weights alone are more than there is: the system ends such a process without a word."""
    there, needed = usable_memory(), bytes_each * sum(math.prod(checkpoint.shape(name)) for name in checkpoint.names)
    if place.type == "cpu" and there is not None and needed > there:
        told = "%s: the weights take %.1f GB and this process may take %.1f GB; a smaller precision takes less"
        _log.warning(told, files.name, needed / 1e9, there / 1e9)


def _calibration(spec: ModelSpec, tokenizer: Tokenizer, precision: Precision) -> Calibration:
    """Whoever asks for int8 gets it, however far it moves the predictions."""
    known = [token for token in tokenizer.encode(TEXT) if token < spec.vocab_size]
    return Calibration(torch.tensor(known or [0]), MAX_DIVERGENCE if precision == "auto" else None)


def _described(decoder: Decoder) -> dict[str, str]:
    """How many linears of each kind are in int8, where some are."""
    if not any(decoder.quantised):
        return {}
    counts: dict[str, int] = {kind: sum(kind in kinds for kinds in decoder.quantised) for kind in LINEAR_KINDS}
    counts["head"] = int(decoder.has_int8_head)
    counts["attention"] = len(decoder.attention_in_bytes)
    return {"int8": ", ".join(f"{kind} {count}" for kind, count in counts.items())}
