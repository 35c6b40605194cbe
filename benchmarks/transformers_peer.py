"""The model in Transformers: as it comes, and at its best by hand."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from copy import deepcopy
from itertools import islice, takewhile
from typing import Any

import torch

from handful.config import settings
from handful.model.source import resolve
from shapes import folder_of

NUM_NEW_TOKENS = 8
MAX_BATCH = 16  # more rows of a repeated 913-token cache take Transformers longer, not shorter


class Transformers:
    """One request at a time and nothing reused, as its quick start does; or the prefix computed once, by hand."""

    def __init__(self, name: str, dtype: str, device: str = "cpu") -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = resolve(folder_of(name), settings=settings()).folder
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.tokenizer.pad_token_id = 0
        self.tokenizer.padding_side = "right"
        chosen: Any = dtype if dtype == "auto" else getattr(torch, dtype)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=chosen).eval().to(device)
        self.device = device
        self.dtype = str(self.model.dtype).removeprefix("torch.")

    @torch.inference_mode()
    def generate(self, prompts: Sequence[str], *, with_prefix: bool = False) -> list[str]:
        """Greedy texts: one prompt after the other, or at its best."""
        ids = [self.tokenizer(prompt)["input_ids"] for prompt in prompts]
        run = self.generate_with_prefix if with_prefix else self.generate_ids
        return [self.tokenizer.decode(new) for new in run(ids, NUM_NEW_TOKENS)]

    @torch.inference_mode()
    def generate_ids(self, prompts: Sequence[list[int]], num_new: int) -> list[list[int]]:
        """Greedy tokens, one prompt after the other, nothing reused."""
        return [self._continued([ids], num_new, {})[0] for ids in prompts]

    @torch.inference_mode()
    def generate_compiled(self, prompts: Sequence[str]) -> list[str]:
        """Greedy texts, one prompt after the other, in a cache of fixed size: on a GPU decoding is then compiled."""
        ids = [self.tokenizer(prompt)["input_ids"] for prompt in prompts]
        more = {"cache_implementation": "static"}
        return [self.tokenizer.decode(self._continued([each], NUM_NEW_TOKENS, more)[0]) for each in ids]

    def generate_continuously(self, prompts: Sequence[str]) -> list[str]:
        """Greedy texts of all prompts at once by its continuous batching, in the order of the prompts."""
        from transformers import GenerationConfig

        ids = [self.tokenizer(prompt)["input_ids"] for prompt in prompts]
        how = GenerationConfig(max_new_tokens=NUM_NEW_TOKENS, do_sample=False, eos_token_id=-1, pad_token_id=0)
        answers = self.model.generate_batch(ids, generation_config=how)
        texts = {tuple(a.prompt_ids): self.tokenizer.decode(a.generated_tokens) for a in answers.values()}
        return [texts[tuple(each)] for each in ids]

    @torch.inference_mode()
    def generate_with_prefix(self, prompts: Sequence[list[int]], num_new: int) -> list[list[int]]:
        """At its best by hand: the common prefix computed once, prompts of equal length (no padding) in batches."""
        num_shared = len(list(takewhile(lambda column: len(set(column)) == 1, zip(*prompts, strict=False))))
        num_shared = min(num_shared, min(map(len, prompts)) - 1)
        past = self.model(self._tensor([prompts[0][:num_shared]]), use_cache=True).past_key_values
        found: dict[int, list[int]] = {}
        for numbers in _equally_long(prompts):
            repeated = deepcopy(past)
            repeated.batch_repeat_interleave(len(numbers))
            new = self._continued([prompts[i] for i in numbers], num_new, {"past_key_values": repeated})
            found |= dict(zip(numbers, new, strict=True))
        return [found[i] for i in range(len(prompts))]

    def _tensor(self, rows: Any) -> torch.Tensor:
        return torch.tensor(rows, device=self.device)

    def _continued(self, rows: list[list[int]], num_new: int, more: dict[str, Any]) -> list[list[int]]:
        """The new tokens of rows of one length."""
        ids = self._tensor(rows)
        ended = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=num_new,
            min_new_tokens=num_new,
            do_sample=False,
            pad_token_id=0,
            **more,
        )
        new: list[list[int]] = ended[:, ids.shape[1] :].tolist()
        return new

    @torch.inference_mode()
    def label(self, prompts: Sequence[str], labels: Sequence[str]) -> list[list[float]]:
        """Log-probability of each label behind each prompt, one forward pass each."""
        return [[self._score(prompt, label) for label in labels] for prompt in prompts]

    @torch.inference_mode()
    def label_with_prefix(self, prefix: str, prompts: Sequence[str], labels: Sequence[str]) -> list[list[float]]:
        """At its best by hand: the prefix's `past_key_values` computed once, all queries and labels in one batch."""
        prefix_ids = self.tokenizer(prefix, return_tensors="pt")["input_ids"].to(self.device)
        texts = [prompt[len(prefix) :] + label for prompt in prompts for label in labels]
        rest = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False).to(self.device)
        past = self.model(prefix_ids, use_cache=True).past_key_values
        past.batch_repeat_interleave(len(texts))
        seen = torch.ones_like(prefix_ids).expand(len(texts), -1)
        mask = torch.cat([seen, rest["attention_mask"]], 1)
        logits = self.model(rest["input_ids"], past_key_values=past, attention_mask=mask).logits.float()
        logprobs = logits.log_softmax(dim=-1)
        found = []
        for i, prompt in enumerate(prompts):
            row = []
            for j, _ in enumerate(labels):
                ids = rest["input_ids"][i * len(labels) + j][rest["attention_mask"][i * len(labels) + j].bool()]
                start = len(self.tokenizer(prompt[len(prefix) :], add_special_tokens=False)["input_ids"])
                at = logprobs[i * len(labels) + j]
                row.append(float(sum(at[t - 1, ids[t]] for t in range(start, len(ids)))))
            found.append(row)
        return found

    def _score(self, prompt: str, label: str) -> float:
        ids = self.tokenizer(prompt + label, return_tensors="pt")["input_ids"].to(self.device)
        num_prompt = len(self.tokenizer(prompt)["input_ids"])
        logprobs = self.model(ids).logits[0, num_prompt - 1 : -1].float().log_softmax(dim=-1)
        return float(logprobs.gather(1, ids[0, num_prompt:, None]).sum())


def _equally_long(prompts: Sequence[list[int]]) -> Iterable[list[int]]:
    """The numbers of prompts of the same length, at most `MAX_BATCH` together."""
    by_length: dict[int, list[int]] = defaultdict(list)
    for i, ids in enumerate(prompts):
        by_length[len(ids)].append(i)
    for numbers in by_length.values():
        left = iter(numbers)
        while group := list(islice(left, MAX_BATCH)):
            yield group
