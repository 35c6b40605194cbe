"""Asks a server with LangChain's HuggingFaceEndpoint; prints what came back as one JSON document.

python ask_langchain.py URL PROMPT [TOKEN]
"""

import asyncio
import json
import sys
from typing import Any

from langchain_core.prompts import PromptTemplate
from langchain_huggingface import HuggingFaceEndpoint


def main(url: str, prompt: str, token: str = "") -> dict[str, Any]:
    """A model by itself, in a chain, streamed and asynchronous. LangChain sends a token to other hosts only so."""
    headers = {"headers": {"Authorization": f"Bearer {token}"}} if token else {}
    model = HuggingFaceEndpoint(endpoint_url=url, max_new_tokens=12, stop_sequences=["###"], server_kwargs=headers)
    chain = PromptTemplate.from_template("{question}") | model
    return {
        "whole": model.invoke(prompt),
        "joined": "".join(model.stream(prompt)),
        "chained": chain.invoke({"question": prompt}),
        "batch": model.batch([prompt, prompt]),
        "asynchronous": asyncio.run(model.ainvoke(prompt)),
        "sampled": model.bind(do_sample=True, seed=7, temperature=0.9).invoke(prompt),
    }


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
