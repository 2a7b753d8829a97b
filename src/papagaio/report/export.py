"""Every training of an audit as a table, and the same as CSV."""

import csv
import io
from base64 import b64encode

from papagaio.result import Result, Scores

__all__ = ["as_csv"]

_FIRST = ("id", "kind", "student", "recipe", "response", "budget", "seed")
_LAST = ("epochs", "seconds", "undertrained")


def as_csv(result: Result) -> str:
    """The trainings as CSV with a header, base64, for a link that needs no script.

    Each score has three columns: value, low and high. Text that a spreadsheet would take for a
    formula begins with an apostrophe.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    figures = [name + end for name in Scores.model_fields for end in ("", "_low", "_high")]
    writer.writerow((*_FIRST, *figures, *_LAST))
    for cell in result.cells:
        row = [_plain(getattr(cell, name)) for name in _FIRST]
        for name in Scores.model_fields:
            one = getattr(cell.scores, name)
            row += (
                ["", "", ""]
                if one is None
                else [f"{x:.6g}" for x in (one.value, one.low, one.high)]
            )
        writer.writerow([*row, *(getattr(cell, name) for name in _LAST)])
    return b64encode(text.getvalue().encode()).decode()


def _plain(value: object) -> object:
    risky = isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}
    return f"'{value}" if risky else value
