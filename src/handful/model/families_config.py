"""Typed reading of a checkpoint's `config.json`: a missing, ill-typed or absurd value is refused with its key's name.

The file comes from strangers. Sizes are bounded before anything is computed from them.
"""

import math
from collections.abc import Mapping

from handful.errors import CheckpointError
from handful.model.spec import Activation, LinearScaling, Llama3Scaling, Rotary, RotaryScaling, YarnScaling

MAX_SIZE = 1 << 24  # vocabularies have 10^5 entries, hidden sizes 10^4
MAX_CONTEXT_LENGTH = 1 << 30

_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


class NotNativeError(CheckpointError):
    """The configuration asks for something that handful's own decoder doesn't do exactly; Transformers may."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"handful's own decoder doesn't run {what}.",
            fix="Install handful[transformers] to run it through Transformers.",
        )


class ConfigReader:
    """Reads values of one configuration (or of a dictionary inside it, `where`). Later names are older spellings."""

    def __init__(self, values: Mapping[str, object], where: str = "") -> None:
        self._values = values
        self._where = where

    def has(self, name: str) -> bool:
        """Whether the key is there and not null."""
        return self._values.get(name) is not None

    def raw(self, *names: str) -> object:
        """The first of these that is there and not null, or None."""
        return next((self._values[name] for name in names if self.has(name)), None)

    def refuse(self, name: str, problem: str) -> CheckpointError:
        """The error for a key that can't be used."""
        return CheckpointError(
            f"The model's config.json: `{self._where}{name}` {problem}",
            fix="Get the model's files again from its source.",
        )

    def integer(self, *names: str, default: int | None = None, low: int = 1, high: int = MAX_SIZE) -> int:
        """A whole number within bounds; `default` where it is absent, or an error where there is none."""
        value = self.raw(*names)
        if value is None and default is not None:
            return default
        if value is None:
            raise self.refuse(names[0], "is missing.")
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.refuse(names[0], f"must be a whole number, not {value!r:.40}.")
        if not low <= value <= high:
            raise self.refuse(names[0], f"must be from {low} to {high}, not {value}.")
        return value

    def number(self, *names: str, default: float | None = None, low: float = 0.0) -> float:
        """A finite number above `low`; `default` where it is absent, or an error where there is none."""
        value = self.raw(*names)
        if value is None and default is not None:
            return default
        if value is None:
            raise self.refuse(names[0], "is missing.")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(names[0], f"must be a number, not {value!r:.40}.")
        if not math.isfinite(value) or value <= low:
            raise self.refuse(names[0], f"must be a finite number above {low:g}, not {value!r:.40}.")
        return float(value)

    def flag(self, name: str, default: bool) -> bool:
        """true or false; `default` where it is absent."""
        value = self.raw(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.refuse(name, f"must be true or false, not {value!r:.40}.")
        return value

    def activation(self, *names: str, default: str) -> Activation:
        """One of the activations that the decoder has; NotNativeError for another."""
        value = self.raw(*names)
        if value is None:
            value = default
        if not isinstance(value, str):
            raise self.refuse(names[0], f"must be a name, not {value!r:.40}.")
        if value not in _ACTIVATIONS:
            raise NotNativeError(f"the activation {value!r:.40}")
        return _ACTIVATIONS[value]

    def section(self, name: str) -> "ConfigReader | None":
        """A dictionary inside the configuration, or None where it is absent."""
        value = self.raw(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.refuse(name, f"must be an object, not {value!r:.40}.")
        return ConfigReader(value, f"{self._where}{name}.")

    @property
    def keys(self) -> frozenset[str]:
        """The keys that are there, null ones too."""
        return frozenset(self._values)


def read_rotary(config: ConfigReader, head_dim: int, context_length: int) -> Rotary:
    """The rotary positions of a Llama-like model, in Transformers 4's spelling (`rope_theta`, `rope_scaling`) or 5's
    (`rope_parameters`). Where both are there `rope_scaling` wins, as in Transformers.
    """
    rope = config.section("rope_scaling") or config.section("rope_parameters") or ConfigReader({})
    theta = rope.number("rope_theta", default=config.number("rope_theta", default=10_000.0))
    if rope.number("partial_rotary_factor", default=config.number("partial_rotary_factor", default=1.0)) != 1.0:
        raise NotNativeError("rotary positions on part of a head in this family")
    return Rotary(theta, even(config, "head_dim", head_dim), scaling=read_scaling(config, rope, context_length))


def even(config: ConfigReader, name: str, dims: int) -> int:
    """Rotated dimensions come in pairs."""
    if dims < 2 or dims % 2:
        raise config.refuse(name, f"gives {dims} rotary dimensions; they must be an even number.")
    return dims


def read_scaling(config: ConfigReader, rope: ConfigReader, context_length: int) -> RotaryScaling | None:
    """How the rotary frequencies are stretched. NotNativeError for rules that depend on the length of the request."""
    kind = rope.raw("rope_type", "type")
    original = rope.integer("original_max_position_embeddings", default=context_length, high=MAX_CONTEXT_LENGTH)
    original = config.integer("original_max_position_embeddings", default=original, high=MAX_CONTEXT_LENGTH)
    match kind:
        case None | "default":
            if any(isinstance(rope.raw(key), Mapping) for key in rope.keys):
                raise NotNativeError("rotary positions that differ between layers")
            return None
        case "linear":
            return LinearScaling(rope.number("factor"))
        case "llama3":
            low, high = rope.number("low_freq_factor"), rope.number("high_freq_factor")
            if high <= low:
                raise rope.refuse("high_freq_factor", f"must be above low_freq_factor, {low:g}, not {high:g}.")
            return Llama3Scaling(rope.number("factor"), low, high, original)
        case "yarn":
            return _read_yarn(rope, context_length, original)
        case _:
            raise NotNativeError(f"rotary positions of the type {kind!r:.40}")


def _read_yarn(rope: ConfigReader, context_length: int, original: int) -> YarnScaling:
    factor = rope.number("factor", default=context_length / original)

    def mscale(weight: float) -> float:
        return 0.1 * weight * math.log(factor) + 1.0 if factor > 1 else 1.0

    attention_factor = mscale(1.0)
    if rope.has("mscale") and rope.has("mscale_all_dim"):
        attention_factor = mscale(rope.number("mscale")) / mscale(rope.number("mscale_all_dim"))
    return YarnScaling(
        factor=factor,
        original_context_length=original,
        beta_fast=rope.number("beta_fast", default=32.0),
        beta_slow=rope.number("beta_slow", default=1.0),
        attention_factor=rope.number("attention_factor", default=attention_factor),
        truncate=rope.flag("truncate", True),
    )
