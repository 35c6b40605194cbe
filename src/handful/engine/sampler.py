"""From logits to tokens, one row a request, each row with its own parameters and its own random numbers.

Reported log-probabilities are those of the model (log-softmax of the logits as they come, after no penalty and at
temperature 1), so that they mean the same in every surface and under every sampling parameter. The order of the
steps: logit bias, repetition penalty, presence and frequency penalties, minimum length, choices, temperature, top-k,
typical-p, top-p.
"""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from handful.engine.logits import Rows
from handful.types import GenerationParameters

if TYPE_CHECKING:
    from handful.engine.request import Generate, Request

NEVER = float("-inf")


@dataclass(frozen=True, slots=True)
class Sampled:
    """A token with the model's log-probability of it and of the best alternatives (None / () unless asked for)."""

    token: int
    logprob: float | None = None
    top: tuple[tuple[int, float], ...] = ()


class Sampler:
    """Draws one token a row. Holds each sampled request's random generator until `forget`."""

    def __init__(self, eos_token_ids: frozenset[int]) -> None:
        self._eos = sorted(eos_token_ids)
        self._generators: dict[int, torch.Generator] = {}

    def forget(self, request_id: int) -> None:
        """A request ended: its random generator is no longer needed."""
        self._generators.pop(request_id, None)

    def sample(self, logits: Rows, requests: "list[Request]") -> list[Sampled]:
        """One token for each row of `logits`; the rows are changed in place."""
        goals: list[Generate] = [request.goal for request in requests]  # type: ignore[misc]
        logprobs = describe_rows(logits, [goal.parameters.logprobs for goal in goals])
        for row, (request, goal) in enumerate(zip(requests, goals, strict=True)):
            if _is_shaped(goal.parameters, len(request.output)):
                self._shape(logits[row], request, goal.parameters)
            if goal.choices is not None:
                _keep_only(logits[row], goal.choices.allowed(request.output, self._eos))
        tokens = logits.largest()
        for row, (request, goal) in enumerate(zip(requests, goals, strict=True)):
            if goal.parameters.temperature > 0.0 and not _is_forced(request, goal):
                tokens[row] = self._draw(logits[row], request.id, goal)
        return [describe(tokens[row], logprobs.get(row)) for row in range(len(requests))]

    def _shape(self, row: Tensor, request: "Request", parameters: GenerationParameters) -> None:
        """Bias, penalties and the minimum length, in place."""
        for token, bias in parameters.logit_bias:
            if token < row.shape[0]:
                row[token] += bias
        if parameters.repetition_penalty != 1.0:
            seen = torch.tensor(sorted({*request.prompt, *request.output}))
            values = row[seen]
            penalty = parameters.repetition_penalty
            row[seen] = torch.where(values < 0, values * penalty, values / penalty)
        if request.output and (parameters.presence_penalty or parameters.frequency_penalty):
            counts = Counter(request.output)
            used = torch.tensor(list(counts))
            times = torch.tensor(list(counts.values()), dtype=row.dtype)
            row[used] -= parameters.presence_penalty + parameters.frequency_penalty * times
        if len(request.output) < parameters.min_new_tokens:
            row[self._eos] = NEVER

    def _draw(self, row: Tensor, request_id: int, goal: "Generate") -> int:
        parameters, best = goal.parameters, row.max()
        if not best.isfinite():  # a penalty beyond all numbers, or a model that computes none: there are no odds
            return int(row.argmax())
        row = (row - best) / max(parameters.temperature, torch.finfo(row.dtype).tiny)
        if parameters.top_k is not None and parameters.top_k < row.shape[0]:
            row = row.masked_fill(row < row.topk(parameters.top_k).values[-1], NEVER)
        if parameters.typical_p is not None and parameters.typical_p < 1.0:
            row = _keep_typical(row, parameters.typical_p)
        if parameters.top_p is not None and parameters.top_p < 1.0:
            row = _keep_top(row, parameters.top_p)
        generator = self._generators.get(request_id)
        if generator is None:
            generator = self._generators[request_id] = torch.Generator().manual_seed(goal.seed)
        return int(torch.multinomial(row.softmax(dim=-1), 1, generator=generator))


def needs_whole_row(request: "Request") -> bool:
    """Whether drawing a token takes more of its logits than the index of the largest. Only Generate requests draw."""
    goal: Generate = request.goal  # type: ignore[assignment]
    parameters = goal.parameters
    return (
        parameters.logprobs is not None
        or parameters.temperature > 0.0
        or goal.choices is not None
        or _is_shaped(parameters, len(request.output))
    )


def _is_shaped(parameters: GenerationParameters, num_output_tokens: int) -> bool:
    return bool(
        parameters.logit_bias
        or parameters.repetition_penalty != 1.0
        or parameters.presence_penalty
        or parameters.frequency_penalty
        or num_output_tokens < parameters.min_new_tokens
    )


def _keep_only(row: Tensor, allowed: list[int]) -> None:
    """Make every token but these impossible, in place."""
    kept = row[allowed]
    row.fill_(NEVER)
    row[allowed] = kept


def _is_forced(request: "Request", goal: "Generate") -> bool:
    """Whether only one token may come: no random number is spent on it, so that its neighbours' don't change."""
    return goal.choices is not None and bool(goal.choices.forced(request.output))


def _keep_top(row: Tensor, mass: float) -> Tensor:
    """Nucleus sampling (Holtzman et al. 2019, arXiv 1904.09751): the fewest best tokens whose mass reaches `mass`."""
    values, order = row.sort(descending=True)
    before = values.softmax(dim=-1).cumsum(dim=-1).roll(1)
    before[0] = 0.0
    return torch.full_like(row, NEVER).scatter(0, order, values.masked_fill(before >= mass, NEVER))


def _keep_typical(row: Tensor, mass: float) -> Tensor:
    """Locally typical sampling (Meister et al. 2022, arXiv 2202.00666): tokens whose surprise is near the entropy."""
    logprobs = row.log_softmax(dim=-1)
    probabilities = logprobs.exp()
    entropy = -(probabilities * logprobs.masked_fill(probabilities == 0, 0.0)).sum()
    order = (-logprobs - entropy).abs().argsort()
    before = probabilities[order].cumsum(dim=-1).roll(1)
    before[0] = 0.0
    return row.clone().scatter(0, order, row[order].masked_fill(before >= mass, NEVER))


def describe_rows(logits: Rows, wanted: list[int | None]) -> dict[int, tuple[Tensor, list[tuple[int, float]]]]:
    """For each row where `wanted` is not None: its log-probabilities and the `wanted` best tokens with theirs."""
    described = {}
    for row, num_top in enumerate(wanted):
        if num_top is not None:
            logprobs = logits[row].log_softmax(dim=-1)
            best = logprobs.topk(min(num_top, logprobs.shape[0])) if num_top else None
            top = list(zip(best.indices.tolist(), best.values.tolist(), strict=True)) if best is not None else []
            described[row] = (logprobs, top)
    return described


def describe(token: int, row: tuple[Tensor, list[tuple[int, float]]] | None) -> Sampled:
    """A token with its log-probabilities, where its row was described."""
    if row is None:
        return Sampled(token)
    return Sampled(token, float(row[0][token]), tuple(row[1]))
