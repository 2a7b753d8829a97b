"""The user's cache folder."""

import os
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """Return `$PAPAGAIO_CACHE`, or `~/.cache/papagaio`; it may not exist yet."""
    return Path(os.environ.get("PAPAGAIO_CACHE") or Path.home() / ".cache" / "papagaio")
