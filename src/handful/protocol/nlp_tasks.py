"""The tasks that the Inference API knows by name, and the request of each."""

from typing import Literal

from handful.errors import InvalidInputError
from handful.nlp_types import NlpTask
from handful.protocol.nlp_answering import QuestionRequest, TableRequest
from handful.protocol.nlp_classification import FillMaskRequest, TextClassificationRequest, TokenClassificationRequest
from handful.protocol.nlp_embedding import FeatureRequest, SimilarityRequest
from handful.protocol.nlp_generation import (
    ConversationRequest,
    SeqToSeqRequest,
    SummarizationRequest,
    TranslationRequest,
)
from handful.protocol.nlp_request import NlpRequest
from handful.protocol.nlp_zero_shot import ZeroShotRequest

TEXT_GENERATION: Literal["text-generation"] = "text-generation"
REQUESTS: dict[NlpTask, type[NlpRequest]] = {
    "feature-extraction": FeatureRequest,
    "sentence-similarity": SimilarityRequest,
    "text-classification": TextClassificationRequest,
    "zero-shot-classification": ZeroShotRequest,
    "token-classification": TokenClassificationRequest,
    "question-answering": QuestionRequest,
    "table-question-answering": TableRequest,
    "fill-mask": FillMaskRequest,
    "summarization": SummarizationRequest,
    "translation": TranslationRequest,
    "text2text-generation": SeqToSeqRequest,
    "conversational": ConversationRequest,
}


def task_named(name: str) -> NlpTask | Literal["text-generation"]:
    """The task that a route names. Raises InvalidInputError for a task there isn't."""
    if name == TEXT_GENERATION:
        return TEXT_GENERATION
    for task in REQUESTS:
        if task == name:
            return task
    raise InvalidInputError(f"{name[:60]!r} is no task.", fix=f"Tasks are {', '.join((TEXT_GENERATION, *REQUESTS))}.")


_REVIEW = "I loved every minute of it."
EXAMPLES: dict[NlpTask, dict[str, object]] = {
    "feature-extraction": {"inputs": _REVIEW, "normalize": True},
    "sentence-similarity": {"inputs": {"source_sentence": "A happy dog", "sentences": ["A sad dog", "A happy cat"]}},
    "text-classification": {"inputs": _REVIEW, "parameters": {"top_k": 2}},
    "zero-shot-classification": {"inputs": _REVIEW, "parameters": {"candidate_labels": ["praise", "complaint"]}},
    "token-classification": {"inputs": "Clara lives in Berkeley.", "parameters": {"aggregation_strategy": "simple"}},
    "question-answering": {"inputs": {"question": "Where does she live?", "context": "Clara lives in Berkeley."}},
    "table-question-answering": {
        "inputs": {"query": "How many?", "table": {"Animal": ["dog", "cat"], "Number": ["3", "4"]}}
    },
    "fill-mask": {"inputs": "Paris is the [MASK] of France.", "parameters": {"top_k": 3}},
    "summarization": {"inputs": "The tower is 324 metres tall.", "parameters": {"max_length": 20}},
    "translation": {"inputs": "My name is Clara.", "parameters": {"src_lang": "en", "tgt_lang": "fr"}},
    "text2text-generation": {"inputs": "translate English to German: Good morning."},
    "conversational": {"inputs": {"text": "And now?", "past_user_inputs": ["Hi"], "generated_responses": ["Hello"]}},
}
"""A body for each task, for the documentation."""
