"""From a model's files to a model that runs: configuration -> spec -> checked, packed weights, and its tokenizer."""

import logging
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from handful.errors import InvalidParameterError
from handful.model.calibration import TEXT, OneSequence
from handful.model.checkpoint import Checkpoint, read_config
from handful.model.decoder import Decoder
from handful.model.families import spec_from_config
from handful.model.fingerprint import fingerprint
from handful.model.layers import LINEAR_KINDS
from handful.model.precision import dtype_name, resolve_device, resolve_numbers
from handful.model.source import ModelFiles
from handful.model.spec import ModelSpec
from handful.model.tokenizer import Tokenizer
from handful.types import Device, ModelInfo, Precision

_log = logging.getLogger(__name__)

MAX_DIVERGENCE = 0.05  # nats a token; the default model's is 0.009, bfloat16's own from float32 0.0002


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
    tokenizer = Tokenizer(files.folder)
    if tokenizer.vocab_size > spec.vocab_size:  # common and harmless: a padding token that was added to the tokenizer
        _log.warning("%s: the tokenizer has %d ids, the model %d", files.name, tokenizer.vocab_size, spec.vocab_size)
    tokens = torch.tensor([token for token in tokenizer.encode(TEXT) if token < spec.vocab_size] or [0])
    with Checkpoint(files.folder) as checkpoint:
        decoder = Decoder.load(spec, checkpoint, numbers.dtype, place, tokens if numbers.int8 else None)
    if decoder.has_two_formats:
        decoder = _checked(decoder, tokens, files.name, precision)
    info = ModelInfo(
        name=files.name,
        architecture=spec.architecture,
        engine="native",
        num_parameters=decoder.num_parameters,
        context_length=spec.context_length,
        vocab_size=spec.vocab_size,
        hidden_size=spec.hidden_size,
        num_layers=spec.num_layers,
        precision="int8" if decoder.has_two_formats else dtype_name(numbers.dtype),
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


def _checked(decoder: Decoder, tokens: Tensor, name: str, precision: Precision) -> Decoder:
    """The decoder, without its int8 linears where they change what it says and nobody asked for them by name.

    Raises InvalidParameterError where they were asked for and none is near enough to what it stands for.
    """
    if not any(decoder.quantised):
        if precision == "int8":
            raise InvalidParameterError("precision", f"is int8, in which no linear of {name} is exact enough.")
        return decoder.exact_only()
    found = divergence(decoder, tokens) if precision == "auto" else 0.0
    if found > MAX_DIVERGENCE:
        _log.warning("%s: int8 moves its predictions by %.3f nats on a test text; not taken", name, found)
        return decoder.exact_only()
    return decoder


def divergence(decoder: Decoder, tokens: Tensor) -> float:
    """Mean KL divergence, in nats, of the next token's probabilities in int8 from the exact ones, over `tokens` `[T]`.

    Everything is in int8 here, the prefix too, so it is more than what a query meets.
    """
    tokens = tokens[: decoder.spec.context_length].to(decoder.device)
    positions, attend = torch.arange(len(tokens), device=decoder.device), OneSequence(decoder.spec)
    with torch.inference_mode():
        exact, quick = (
            decoder.logits(decoder.final_norm(decoder.forward(tokens, positions, attend, is_exact=is_exact)))
            for is_exact in (True, False)
        )
        return F.kl_div(quick.log_softmax(-1), exact.log_softmax(-1), log_target=True, reduction="batchmean").item()


def _described(decoder: Decoder) -> dict[str, str]:
    """How many linears of each kind are in int8, where some are."""
    if not decoder.has_two_formats:
        return {}
    counts = {kind: sum(kind in kinds for kinds in decoder.quantised) for kind in LINEAR_KINDS}
    return {"int8": ", ".join(f"{kind} {count}" for kind, count in counts.items())}
