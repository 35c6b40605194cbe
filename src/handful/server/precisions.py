"""What `--precision` says: one for all models, others for models by their served names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import get_args

from handful.errors import InvalidParameterError
from handful.types import Precision


@dataclass(frozen=True, slots=True)
class Precisions:
    """`of_all` None: as the settings say."""

    of_all: Precision | None = None
    by_name: Mapping[str, Precision] = field(default_factory=dict)

    @classmethod
    def read(cls, given: Iterable[str]) -> "Precisions":
        """From values such as `int8` and `encoder=float32`. Raises InvalidParameterError."""
        of_all: Precision | None = None
        by_name: dict[str, Precision] = {}
        for value in given:
            name, equals, wanted = value.rpartition("=")
            precision = _precision(wanted)
            if (equals and name in by_name) or not (equals or of_all is None):
                raise InvalidParameterError("--precision", f"is given twice for {name or 'all models'}.")
            if equals:
                by_name[name] = precision
            else:
                of_all = precision
        return cls(of_all, by_name)

    def of(self, name: str) -> Precision | None:
        """What a model is to be loaded in."""
        return self.by_name.get(name, self.of_all)

    def but_not_int8(self, name: str, default: Precision) -> "Precisions":
        """These, where a model that nobody named is left out of an int8 that it can't run in. `default` is the
        settings'."""
        if name in self.by_name or (self.of_all or default) != "int8":
            return self
        return Precisions(self.of_all, {**self.by_name, name: "float32"})

    def check_names(self, names: Iterable[str]) -> None:
        """Refuse one for a model that there isn't (InvalidParameterError)."""
        served = list(names)
        for name in self.by_name:
            if name not in served:
                fix = f"Models are {', '.join(served)}."
                raise InvalidParameterError("--precision", f"names {name[:100]}, which isn't served.", fix=fix)


def _precision(value: str) -> Precision:
    for known in get_args(Precision):
        if value == known:
            precision: Precision = known
            return precision
    raise InvalidParameterError("--precision", f"must be one of {', '.join(get_args(Precision))}, not {value[:100]!r}.")
