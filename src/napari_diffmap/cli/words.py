"""Errors and warnings in the words of the command line.

Messages name what is missing in words that hold in the window, a notebook and
the terminal; here each of them becomes the option that gives it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable

#: What a message says, and what a user of the command line types.
_OPTIONS: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = (
    (r"e\.g\. dataset '([^']+)'", lambda found: f"e.g. --dataset {shlex.quote(found[1])}"),
    (r"the kind '([^']+)'", r"--kind '\1'"),
    (r"the axes '([^']+)'", r"--axes \1"),
    (r"(?:a|the) scan shape \(rows, columns\)", "--scan-shape ROWS,COLUMNS"),
    (r"(?:the )?scan shape (\d+,\d+)", r"--scan-shape \1"),
    (r"give the scan shape", "give --scan-shape ROWS,COLUMNS"),
    (r"give rows,columns whose", "give --scan-shape ROWS,COLUMNS whose"),
    (r"its shape \(y, x, ky, kx\)", "--raw-shape Y,X,KY,KX"),
    (r"leave the shape away", "leave --raw-shape away"),
    (r"the number type of its values, e\.g\. '(\w+)'", r"--dtype, e.g. --dtype \1"),
    (r"its number type and offset", "--dtype and --raw-offset"),
    (r"its number type", "--dtype"),
    (r"voltage: give it in kV(?:, e\.g\. 200)?", "voltage: give it in kV with --voltage, e.g. 200"),
    (r"give kV, e\.g\. 200", "give kV, e.g. --voltage 200"),
    (r"give its size in 1/Å", "give its size in 1/Å with --pixel-size, e.g. 0.01"),
    (r"give it in 1/Å per pixel", "give it in 1/Å with --pixel-size, e.g. 0.01"),
    (r"give 1/Å per pixel, e\.g\. 0\.01", "give 1/Å per pixel, e.g. --pixel-size 0.01"),
    (r"give the centre by hand", "give the centre with --center Y,X"),
)


def on_the_command_line(message: str) -> str:
    """A message as one line that names options.

    Parameters
    ----------
    message
        Of an error or a warning.
    """
    line = " ".join(message.split())
    for pattern, option in _OPTIONS:
        line = re.sub(pattern, option, line)
    return line
