"""What an answer says about itself in its headers, under the names that the Inference API and TGI use."""

from collections.abc import Sequence

from handful.types import Generation, ModelInfo

STREAM_HEADERS = {"cache-control": "no-cache", "x-accel-buffering": "no"}


def model_headers(info: ModelInfo, num_characters: int) -> dict[str, str]:
    """What is known before the work: where it runs, the model's revision, the size of the request."""
    headers = {"x-compute-type": info.device, "x-compute-characters": str(num_characters)}
    if info.revision.isalnum():
        headers["x-sha"] = info.revision
    return exposed(headers)


def work_headers(seconds: float, generations: Sequence[Generation] = ()) -> dict[str, str]:
    """What is known after it: seconds it took (queueing included) and tokens read, found in the cache, generated."""
    headers = {"x-compute-time": f"{seconds:.3f}"}
    if generations:
        generated = [len(completion.tokens) for made in generations for completion in made.completions]
        headers["x-prompt-tokens"] = str(sum([made.num_prompt_tokens for made in generations]))
        headers["x-cached-tokens"] = str(sum([made.num_cached_tokens for made in generations]))
        headers["x-generated-tokens"] = str(sum(generated))
    return headers


def exposed(headers: dict[str, str]) -> dict[str, str]:
    """`headers` with the one that lets a browser's script read them."""
    return headers | {"access-control-expose-headers": "x-compute-type, x-compute-time, x-request-id"}
