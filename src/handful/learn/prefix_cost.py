"""What a choice of examples costs in shared prefix: how much of the prompts is computed once, and how much again.

A model keeps the tokens of prompts that begin alike once (a tree of segments), so a set of examples that all queries
share is computed once, and examples chosen for each query are computed for each different beginning.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PrefixCost:
    """Tokens of the examples in front of `num_queries` queries; the queries' own tokens aren't counted.

    num_prefixes         different prefixes
    num_prompt_tokens    tokens of all prefixes, as if nothing were shared
    num_computed_tokens  what is computed when equal beginnings are kept: each different beginning once
    """

    num_queries: int
    num_prefixes: int
    num_prompt_tokens: int
    num_computed_tokens: int

    @property
    def shared(self) -> float:
        """The share of the tokens that isn't computed again: 0 for nothing shared; 0 for no tokens."""
        return 1 - self.num_computed_tokens / self.num_prompt_tokens if self.num_prompt_tokens else 0.0

    def __str__(self) -> str:
        return (
            f"{self.num_prefixes} different prefixes for {self.num_queries} queries; {self.num_computed_tokens:,} of "
            f"{self.num_prompt_tokens:,} example tokens are computed ({self.shared:.0%} shared)."
        )

    def to_dict(self) -> dict[str, int | float]:
        """Plain values."""
        return {
            "num_queries": self.num_queries,
            "num_prefixes": self.num_prefixes,
            "num_prompt_tokens": self.num_prompt_tokens,
            "num_computed_tokens": self.num_computed_tokens,
            "shared": self.shared,
        }


def prefix_cost(shown: Sequence[tuple[int, ...]], tokens: Sequence[int]) -> PrefixCost:
    """The cost of prompts that show the examples `shown` (one tuple a query, in the order of the prompt).

    `tokens` is the number of tokens of each example of the pool. Tokens that a tokenizer would join across two
    examples aren't seen, so the figures are good to a token an example.
    """
    beginnings = {one[:length] for one in shown for length in range(1, len(one) + 1)}
    return PrefixCost(
        num_queries=len(shown),
        num_prefixes=len(set(shown)),
        num_prompt_tokens=sum(tokens[index] for one in shown for index in one),
        num_computed_tokens=sum(tokens[beginning[-1]] for beginning in beginnings),
    )
