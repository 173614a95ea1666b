"""Pieces of a self-contained HTML page: everything that is not markup is escaped."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


_STYLE = """
:root { color-scheme: light; }
body { font: 15px/1.45 system-ui, "DejaVu Sans", Verdana, sans-serif; color: #111;
  background: #fff; max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2rem 0 .6rem; border-bottom: 1px solid #999; }
p { margin: .4rem 0; overflow-wrap: anywhere; }
.quiet { color: #555; }
.warning { border: 1px solid #D55E00; border-left-width: .5rem; padding: .4rem 1rem; }
.warning ul { margin: .3rem 0; padding-left: 1.2rem; overflow-wrap: anywhere; }
table { border-collapse: collapse; margin: .6rem 0; max-width: 100%; }
caption { text-align: left; font-weight: 600; padding: .3rem 0; }
th, td { text-align: left; vertical-align: top; padding: .22rem .9rem .22rem 0;
  border-bottom: 1px solid #ccc; overflow-wrap: anywhere; }
th { font-weight: 600; overflow-wrap: normal; }
td.number, th.number { text-align: right; white-space: nowrap; }
table.pairs td:first-child { white-space: nowrap; }
.swatch { display: inline-block; width: 1em; height: 1em; border: 1px solid #000;
  vertical-align: -.15em; margin-right: .5em; print-color-adjust: exact;
  -webkit-print-color-adjust: exact; }
figure { margin: 1.2rem 0; }
figure img { max-width: 100%; height: auto; border: 1px solid #ddd; }
figcaption { margin-top: .3rem; overflow-wrap: anywhere; }
@page { margin: 16mm; }
@media print {
  body { font-size: 10pt; margin: 0; padding: 0; max-width: none; }
  h2 { break-after: avoid; }
  figure, tr, .warning { break-inside: avoid; }
  figure img { max-height: 112mm; border: 0; }
  thead { display: table-header-group; }
}
"""
#: Nothing is fetched and nothing runs, whatever the words are.
_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def text(value: object) -> Markup:
    """A value as HTML; `Markup` stays as it is."""
    return value if isinstance(value, Markup) else Markup(escape(str(value), quote=True))


def page(title: str, body: Iterable[Markup]) -> str:
    """A whole document."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + "\n</body>\n</html>\n"
    )


def section(title: str, *parts: Markup) -> Markup:
    """A heading and what is below it; nothing where there is nothing."""
    filled = [part for part in parts if part]
    if not filled:
        return Markup()
    return Markup(f"<section>\n<h2>{text(title)}</h2>\n" + "\n".join(filled) + "\n</section>")


def paragraph(words: object, kind: str = "") -> Markup:
    """One paragraph."""
    style = f' class="{text(kind)}"' if kind else ""
    return Markup(f"<p{style}>{text(words)}</p>")


def bullets(title: str, lines: Sequence[object]) -> Markup:
    """A box of lines that must be seen."""
    if not lines:
        return Markup()
    items = "".join(f"<li>{text(line)}</li>" for line in lines)
    return Markup(f'<div class="warning"><strong>{text(title)}</strong><ul>{items}</ul></div>')


def table(
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    caption: str = "",
    numbers: Sequence[int] = (),
) -> Markup:
    """A table without empty columns, nothing without rows; `numbers` are set to the right."""
    every = list(rows)
    kept = [i for i in range(max(map(len, every), default=0)) if any(row[i] != "" for row in every)]

    def cells(values: Sequence[object], tag: str) -> str:
        styles = {i: ' class="number"' if i in numbers else "" for i in kept}
        return "".join(f"<{tag}{styles[i]}>{text(values[i])}</{tag}>" for i in kept)

    lines = "".join(f"<tr>{cells(row, 'td')}</tr>\n" for row in every)
    if not lines:
        return Markup()
    head = f"<thead><tr>{cells(header, 'th')}</tr></thead>\n" if any(header) else ""
    above = f"<caption>{text(caption)}</caption>\n" if caption else ""
    style = "" if head else ' class="pairs"'
    return Markup(f"<table{style}>\n{above}{head}<tbody>\n{lines}</tbody>\n</table>")


def swatch(color: str, words: object) -> Markup:
    """A square of a colour before words."""
    style = f"background:{text(color)}"
    return Markup(f'<span class="swatch" style="{style}"></span>{text(words)}')


def figure(image: bytes, kind: str, alt: str, caption: str) -> Markup:
    """An embedded picture; `kind` is ``svg+xml`` or ``png``."""
    data = base64.b64encode(image).decode("ascii")
    return Markup(
        f'<figure>\n<img src="data:image/{kind};base64,{data}" alt="{text(alt)}">\n'
        f"<figcaption>{text(caption)}</figcaption>\n</figure>"
    )
