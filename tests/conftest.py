"""Shared by several test files: a tiny audit, and two ways to run the command."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from numpy.typing import NDArray

from papagaio.cli.main import main

if TYPE_CHECKING:
    from papagaio_thesis.records import ThesisResult

# A shell's background job ignores Ctrl-C, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Files that take minutes come first, so that all workers end at about the same time.
LONG = ("test_kills", "test_demo", "test_thesis", "test_serve", "test_asking", "test_readings")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.stem not in LONG)


COMMAND = Path(sys.executable).with_name("papagaio")
PROGRESS = re.compile(r"^([^:]+: [\d,]+ of [\d,]+ \w+|(device|precision|ledger) \w+: )")

# Logs how many images it is given, then answers with three classes by the mean grey level.
BOX = """
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np


def predict(images):
    with Path(__file__).with_name("asked.log").open("a") as log:
        log.write(f"{len(images)}\\n")
    level = images.mean((1, 2, 3)) / 255
    scores = np.stack([level, (1 - level) / 2, (1 - level) / 2], 1).astype("float32")
    return scores
"""


@dataclass(frozen=True)
class Ended:
    """How a run of the command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def complaint(self) -> str:
        """The single error line; fails if stderr holds anything else except progress."""
        lines = [line for line in self.stderr.splitlines() if not PROGRESS.match(line)]
        assert len(lines) == 1, self.stderr
        assert lines[0].startswith("papagaio: "), self.stderr
        return lines[0]


Papagaio = Callable[..., Ended]


@dataclass(frozen=True)
class Tiny:
    """A folder with the files of a tiny audit: 14 transfer images and 9 labelled test images."""

    folder: Path

    @property
    def out(self) -> Path:
        return self.folder / "run"

    @property
    def ledger(self) -> Path:
        return self.out / "ledger.sqlite"

    def box(self, source: str) -> str:
        """Replace the black box's source, and return its name on the command line."""
        (self.folder / "box.py").write_text(source)
        return f"{self.folder / 'box.py'}:predict"

    def asked(self) -> list[int]:
        """The number of images in each call of the black box."""
        log = self.folder / "asked.log"
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    def audit(self, **changes: object) -> list[str]:
        """The command line of the audit; an option of None or False is left out."""
        options: dict[str, object] = {
            "box": f"{self.folder / 'box.py'}:predict",
            "input": "8x8x1",
            "classes": 3,
            # Its labels are arbitrary: no black box would pass.
            "unchecked": True,
            "transfer": self.folder / "transfer.npz",
            "test": self.folder / "test.npz",
            "budget": 12,
            "batch": 4,
            "students": "small-cnn",
            "controls": "none",
            "epochs": 1,
            "device": "cpu",
            "precision": "float32",
            "threads": 1,
            "out": self.out,
        }
        options |= changes
        box = options.pop("box")
        flags = {f"--{name.replace('_', '-')}": value for name, value in options.items()}
        named = [
            flag if value is True else f"{flag}={value}"
            for flag, value in flags.items()
            if value is not None and value is not False
        ]
        return ["audit", *([] if box is None else [str(box)]), *named]


def grey(count: int, seed: int, side: int = 8) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 1), np.uint8)


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give these tests, and the processes that they start, their own cache of decoded images."""
    os.environ["PAPAGAIO_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def tiny(tmp_path: Path) -> Tiny:
    made = Tiny(tmp_path)
    np.savez(tmp_path / "transfer.npz", images=grey(14, 1))
    np.savez(tmp_path / "test.npz", images=grey(9, 2), labels=np.arange(9) % 3)
    made.box(BOX)
    return made


@pytest.fixture
def papagaio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Papagaio:
    """The command, run in this process, which saves the seconds of importing torch."""
    # What it keeps by default is in the folder where it is started.
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> Ended:
        capsys.readouterr()
        # Each run puts the black box's folder in front of the path.
        monkeypatch.setattr(sys, "path", sys.path.copy())
        monkeypatch.setattr(sys, "argv", ["papagaio", *map(str, words)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return Ended(int(end.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def papagaio_process() -> Papagaio:
    """The command in its own process, as a user starts it."""

    def run(*words: object) -> Ended:
        done = subprocess.run(
            [COMMAND, *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def stored() -> "ThesisResult":
    """The result of a small reproduction, with every experiment and most studies."""
    from papagaio_thesis.records import read_thesis  # noqa: PLC0415  # few tests need it

    return read_thesis(Path(__file__).parent / "data" / "thesis-example.json")
