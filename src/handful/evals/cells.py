"""The cells of an evaluation: every combination that its queries are asked in."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields

from handful.errors import InvalidParameterError

MAX_CELLS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One setting.

    template  the name of the task whose wording is used
    shots     examples given; `set` is the seed they are drawn with, `order` the number of their order
    """

    model: str
    template: str
    predictor: str
    shots: int
    set: int
    order: int

    def to_dict(self) -> dict[str, str | int]:
        """Plain values, in the order of `COORDINATES`."""
        return asdict(self)


COORDINATES = tuple(field.name for field in fields(Cell))


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """What is combined. `shots` None: the task's own examples, in their own order, and nothing is drawn."""

    models: tuple[str, ...]
    templates: tuple[str, ...]
    predictors: tuple[str, ...]
    shots: tuple[int, ...] | None = None
    num_sets: int = 5
    num_orders: int = 1

    def __post_init__(self) -> None:
        for name in ("models", "templates", "predictors", "shots"):
            values = getattr(self, name)
            if values is not None and (not values or len(set(values)) < len(values)):
                raise InvalidParameterError(name, "must be named once each, and at least one.")
        if self.num_cells > MAX_CELLS:
            problem = f"make {self.num_cells} combinations; at most {MAX_CELLS} are evaluated at once."
            raise InvalidParameterError("shots, seeds, orders", problem)

    @property
    def max_shots(self) -> int:
        """The largest set that is drawn; 0 for none."""
        return max(self.shots or (0,))

    @property
    def num_cells(self) -> int:
        """How many there are."""
        sets = sum(self._num_sets(shots) * self._num_orders(shots) for shots in self.shots or (0,))
        return len(self.models) * len(self.templates) * len(self.predictors) * sets

    def cells(self, model: str, num_own_examples: int = 0) -> Iterator[Cell]:
        """The cells of one model, example set by example set, so that what shares a prompt stands together."""
        for template in self.templates:
            for shots in self.shots or (num_own_examples,):
                for number in range(self._num_sets(shots)):
                    for order in range(self._num_orders(shots)):
                        for predictor in self.predictors:
                            yield Cell(
                                model=model,
                                template=template,
                                predictor=predictor,
                                shots=shots,
                                set=number,
                                order=order,
                            )

    def _num_sets(self, shots: int) -> int:
        """Without examples every set is the same one."""
        return self.num_sets if self.shots is not None and shots else 1

    def _num_orders(self, shots: int) -> int:
        return self.num_orders if self.shots is not None and shots > 1 else 1
