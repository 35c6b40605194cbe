"""Asks a server with TGI's own Python client; prints what came back as one JSON document.

python ask_text_generation.py URL PROMPT
"""

import asyncio
import json
import sys
from typing import Any

from text_generation import AsyncClient, Client
from text_generation.errors import NotFoundError, UnknownError, ValidationError

ASKED: dict[str, Any] = {"max_new_tokens": 12, "stop_sequences": ["###"]}


def main(url: str, prompt: str) -> dict[str, Any]:
    """Everything that the client can do, whole and streamed, in both of its forms."""
    client = Client(url, timeout=60)
    whole = client.generate(prompt, **ASKED, decoder_input_details=True, top_n_tokens=2)
    events = list(client.generate_stream(prompt, **ASKED))
    sampled = [client.generate(prompt, do_sample=True, seed=7, temperature=0.9, top_p=0.9) for _ in range(2)]
    return {
        "text": whole.generated_text,
        "details": json.loads(whole.details.model_dump_json()),
        "joined": "".join(event.token.text for event in events if not event.token.special),
        "last": json.loads(events[-1].model_dump_json()),
        "sampled": [made.generated_text for made in sampled],
        "asynchronous": asyncio.run(_asynchronous(url, prompt)),
        "errors": [_error(client, prompt, max_new_tokens=100_000), _error(Client(url + "/nowhere"), prompt)],
    }


async def _asynchronous(url: str, prompt: str) -> list[str]:
    client = AsyncClient(url, timeout=60)
    texts = [event.token.text async for event in client.generate_stream(prompt, **ASKED) if not event.token.special]
    return [(await client.generate(prompt, **ASKED)).generated_text, "".join(texts)]


def _error(client: Client, prompt: str, **parameters: Any) -> list[str]:
    try:
        client.generate(prompt, **parameters)
    except (ValidationError, NotFoundError, UnknownError) as error:
        return [type(error).__name__, str(error)]
    return ["none", ""]


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
