"""A backend whose prompts can be tuned, for tests: behind a tuned prefix it knows what the prefix was tuned with, and
says of all else what its `signal` lets it."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np

from handful.types import LabelledPrompt, PrefixTuning, Score, TunedPrefix
from tests.unit.learn.structured import LABELS, StructuredBackend, noise

Tuning = tuple[Sequence[str], Sequence[LabelledPrompt], Sequence[str], PrefixTuning]


class TunableModel(StructuredBackend):
    """Its prefixes' keys are the checksums of the prompts that they were tuned with, their values the labels."""

    def __init__(self, *, tuned_signal: float, score_signal: float = 0.5, state_signal: float = 0.2) -> None:
        super().__init__(score_signal=score_signal, state_signal=state_signal)
        self.tuned_signal = tuned_signal
        self.tunings: list[Tuning] = []

    def check_tunable(self, asked: str, continuations: Sequence[str]) -> None:
        """See `PrefixTuner.check_tunable`."""

    def tuned_prefix(
        self,
        shown: Sequence[str],
        asked: Sequence[LabelledPrompt],
        continuations: Sequence[str],
        settings: PrefixTuning,
        advance: Callable[[int, int], None] | None = None,
    ) -> TunedPrefix:
        """See `PrefixTuner.tuned_prefix`."""
        self.tunings.append((shown, asked, continuations, settings))
        if advance is not None:
            num_steps = settings.num_steps(len(asked))
            advance(num_steps, num_steps)
        keys = np.array([_key(one.text) for one in asked], dtype=np.float32).reshape(1, -1, 1, 1)
        return TunedPrefix(keys, np.array([one.label for one in asked], dtype=np.float32).reshape(keys.shape))

    def score_behind(self, prefix: TunedPrefix, prompts: Sequence[str], continuations: Sequence[str]) -> list[Score]:
        """See `PrefixBackend.score_behind`."""
        self.calls.append(("score_behind", len(prompts)))
        known = dict(zip(prefix.keys.ravel().tolist(), prefix.values.ravel().tolist(), strict=True))
        return [self._learned_score(known, prompt, continuations) for prompt in prompts]

    def _learned_score(self, known: dict[float, float], prompt: str, continuations: Sequence[str]) -> Score:
        label = self._parts(prompt)[2]
        values = [
            noise("tuned", prompt, one).normal() * 0.5 + self.tuned_signal * (one.strip() == label)
            for one in continuations
        ]
        if (learned := known.get(_key(prompt))) is not None:
            values = [10.0 * (LABELS[int(learned)] == one.strip()) for one in continuations]
        return Score(tuple(values), (1,) * len(values), len(prompt), 0)


def _key(text: str) -> float:
    return float(zlib.crc32(text.encode()) % 2**20)
