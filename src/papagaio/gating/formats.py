"""The formats of a gate's outcomes, by name."""

from collections.abc import Callable

from papagaio.gating.json_text import json_text
from papagaio.gating.junit import junit
from papagaio.gating.markdown import markdown
from papagaio.gating.outcomes import Gated
from papagaio.gating.sarif import sarif
from papagaio.gating.settings import Format
from papagaio.gating.text import text

__all__ = ["FORMATS"]

FORMATS: dict[Format, Callable[[Gated], str]] = {
    "text": text,
    "json": json_text,
    "junit": junit,
    "sarif": sarif,
    "markdown": markdown,
}
