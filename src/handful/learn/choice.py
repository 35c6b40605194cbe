"""What `auto` chose, why, and what to expect of it: for people, and as plain values for a file."""

from dataclasses import dataclass
from typing import Any

from handful.learn.evidence import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What `auto` chose, why, and what to expect.

    num_passes   passes through the model that a query costs
    num_compared prompts that were compared for the `num_prompts` best; 0 where there was nothing to choose
    confidences  how sure it was of each held-out example, and `is_right` whether it was right: what `reliability_bins`
                 and `threshold_for` take. Where all examples are shown, prompts of half of them said it
    """

    recipe: str
    reason: str
    expected: Verdict
    verdicts: tuple[Verdict, ...]
    num_prompts: int
    num_shown: int
    num_passes: int
    num_compared: int = 0
    confidences: tuple[float, ...] = ()
    is_right: tuple[bool, ...] = ()

    def __str__(self) -> str:
        chosen = f" (the best of {self.num_compared})" if self.num_compared else ""
        prompts = f"{self.recipe}, {self.num_prompts} prompts of {self.num_shown} examples{chosen}, "
        prompts += f"{self.num_passes} passes"
        if not self.expected.num_tried:
            return f"{prompts} a query. {self.reason}"
        low, high = self.expected.interval
        return (
            f"{prompts} a query: {self.expected.accuracy:.0%} right ({low:.0%} to {high:.0%}) of "
            f"{self.expected.num_tried} held-out examples. {self.reason}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "recipe": self.recipe,
            "reason": self.reason,
            "num_prompts": self.num_prompts,
            "num_shown": self.num_shown,
            "num_passes": self.num_passes,
            "num_compared": self.num_compared,
            "expected": self.expected.to_dict(),
            "verdicts": [verdict.to_dict() for verdict in self.verdicts],
            "confidences": list(self.confidences),
            "is_right": list(self.is_right),
        }
