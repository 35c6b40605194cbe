"""A server that answers what `load.py` asks and, where it is told to, leaks: files, threads or kv_tokens."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

kept: list[IO[bytes]] = []
num_answered = 0


class Handler(BaseHTTPRequestHandler):
    """Every path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Ready, and figures."""
        held = num_answered if "kv_tokens" in sys.argv else 0
        figures = f"vllm:num_requests_running 0\nvllm:num_requests_waiting 0\nhandful_kv_slots_held {held}\n"
        self.answer(figures.encode())

    def do_POST(self) -> None:
        """A whole answer."""
        global num_answered  # noqa: PLW0603 - a process of its own
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        num_answered += 1
        if "files" in sys.argv:
            kept.append(Path(__file__).open("rb"))  # noqa: SIM115 - that is the leak
        if "threads" in sys.argv:
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        threading.Event().wait(0.05)
        self.answer(b"data: [DONE]\n\n" if body.get("stream") else b'{"choices": []}')

    def answer(self, content: bytes) -> None:
        """Status 200."""
        self.send_response(200)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its base calls it so
        """Nothing."""


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
