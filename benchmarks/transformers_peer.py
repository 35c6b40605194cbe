"""The model in Transformers: as it comes, and at its best by hand."""

from collections.abc import Sequence
from typing import Any

import torch

from handful.config import settings
from handful.model.source import resolve

NUM_NEW_TOKENS = 8


class Transformers:
    """One request at a time and nothing reused, as its quick start does; or the prefix computed once, by hand."""

    def __init__(self, name: str, dtype: str) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = resolve(name, settings=settings()).folder
        self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        self.tokenizer.pad_token_id = 0
        self.tokenizer.padding_side = "right"
        chosen: Any = dtype if dtype == "auto" else getattr(torch, dtype)
        self.model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=chosen).eval()
        self.dtype = str(self.model.dtype).removeprefix("torch.")

    @torch.inference_mode()
    def generate(self, prompts: Sequence[str]) -> list[str]:
        """Greedy texts, one prompt after the other."""
        texts = []
        for prompt in prompts:
            encoded = self.tokenizer(prompt, return_tensors="pt")
            ended = self.model.generate(
                **encoded, max_new_tokens=NUM_NEW_TOKENS, min_new_tokens=NUM_NEW_TOKENS, do_sample=False, pad_token_id=0
            )
            texts.append(self.tokenizer.decode(ended[0, encoded["input_ids"].shape[1] :]))
        return texts

    @torch.inference_mode()
    def label(self, prompts: Sequence[str], labels: Sequence[str]) -> list[list[float]]:
        """Log-probability of each label behind each prompt, one forward pass each."""
        return [[self._score(prompt, label) for label in labels] for prompt in prompts]

    @torch.inference_mode()
    def label_with_prefix(self, prefix: str, prompts: Sequence[str], labels: Sequence[str]) -> list[list[float]]:
        """At its best by hand: the prefix's `past_key_values` computed once, all queries and labels in one batch."""
        prefix_ids = self.tokenizer(prefix, return_tensors="pt")["input_ids"]
        texts = [prompt[len(prefix) :] + label for prompt in prompts for label in labels]
        rest = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        past = self.model(prefix_ids, use_cache=True).past_key_values
        past.batch_repeat_interleave(len(texts))
        mask = torch.cat([torch.ones(len(texts), prefix_ids.shape[1], dtype=torch.int64), rest["attention_mask"]], 1)
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
        ids = self.tokenizer(prompt + label, return_tensors="pt")["input_ids"]
        num_prompt = len(self.tokenizer(prompt)["input_ids"])
        logprobs = self.model(ids).logits[0, num_prompt - 1 : -1].float().log_softmax(dim=-1)
        return float(logprobs.gather(1, ids[0, num_prompt:, None]).sum())
