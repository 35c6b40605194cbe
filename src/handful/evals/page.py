"""HTML in one file: no scripts, nothing fetched from anywhere, every text escaped, figures within.

A content security policy in the page says the same to the browser.
"""

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from handful.evals.tables import Table

_STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem; }
h1, h2, h3 { line-height: 1.2; }
h2 { margin-top: 2.5rem; }
table { border-collapse: collapse; margin: 1rem 0; }
caption { text-align: left; color: #444; padding-bottom: .4rem; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #ccc; }
td, th { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
figure { margin: 1.5rem 0; }
figure img { max-width: 100%; height: auto; }
figcaption { color: #444; }
pre { background: #f4f4f4; padding: 1rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.remark { border-left: 4px solid #D55E00; padding: .2rem .8rem; }
"""
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


@dataclass(frozen=True, slots=True)
class Figure:
    """A drawn file, what it shows in one sentence (its text alternative too)."""

    svg: Path
    caption: str


def page(title: str, parts: Sequence[str]) -> str:
    """A whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>{escaped(title)}</h1>\n" + "\n".join(parts) + "\n</main>\n</body>\n</html>\n"
    )


def section(title: str, *parts: str) -> str:
    """A heading and what stands below it; nothing where there is nothing."""
    return f"<section>\n<h2>{escaped(title)}</h2>\n" + "\n".join(parts) + "\n</section>" if any(parts) else ""


def paragraph(text: str) -> str:
    """A paragraph."""
    return f"<p>{escaped(text)}</p>"


def remark(text: str) -> str:
    """A paragraph that a reader mustn't miss."""
    return f'<p class="remark"><strong>Note:</strong> {escaped(text)}</p>'


def preformatted(text: str) -> str:
    """A text with its line breaks, for reading and for scrolling with the keyboard."""
    return f'<pre tabindex="0">{escaped(text)}</pre>'


def table(content: Table) -> str:
    """A table with a caption and header cells."""
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in content.header)
    body = "\n".join(
        f'<tr><th scope="row">{escaped(row[0])}</th>'
        + "".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in content.rows
    )
    caption = f"<caption>{escaped(content.caption)}</caption>"
    region = f'<div class="scroll" role="region" tabindex="0" aria-label="{escaped(content.caption)}">'
    return f"{region}<table>{caption}\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table></div>"


def figure(drawn: Figure) -> str:
    """A figure inside the page."""
    content = base64.b64encode(drawn.svg.read_bytes()).decode()
    caption = escaped(drawn.caption)
    image = f'<img alt="{caption}" src="data:image/svg+xml;base64,{content}">'
    return f"<figure>{image}\n<figcaption>{caption}</figcaption></figure>"


def escaped(text: str) -> str:
    """Text as HTML shows it; control characters, which HTML can't hold, made visible."""
    return html.escape("".join("�" if _is_control(letter) else letter for letter in text), quote=True)


def _is_control(letter: str) -> bool:
    return (letter < " " and letter not in "\n\t") or "\x7f" <= letter <= "\x9f" or "\ud800" <= letter <= "\udfff"
