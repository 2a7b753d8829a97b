"""A task on a machine without the run's folder: its arrays are in memory, its files come back.

A task is a value made of frozen dataclasses and partial functions. The arrays that it reads and the
folder that it writes to are `Path`s in it, and nothing else in it is a path.
"""

from collections import Counter
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import Any

from papagaio import files
from papagaio.errors import Lost
from papagaio.jobs import Task
from papagaio.progress import Message, Progress, Step

__all__ = ["attempts", "contents", "mirror", "replaced", "tolerate"]

# The files of a folder by their relative names, in the order in which they were written.
Files = Mapping[str, bytes]

# A training that takes its machine down so often would take down the others, too.
_LOSSES = 3


def replaced(value: Any, change: Callable[[Any], Any]) -> Any:  # noqa: ANN401  # any part of a task
    """The same task with other leaves: what is neither a dataclass nor a partial function."""
    if isinstance(value, partial):
        named = {name: replaced(one, change) for name, one in value.keywords.items()}
        return partial(value.func, *(replaced(one, change) for one in value.args), **named)
    if is_dataclass(value) and not isinstance(value, type):
        own = {field.name: getattr(value, field.name) for field in fields(value) if field.init}
        return replace(value, **{name: replaced(one, change) for name, one in own.items()})
    return change(value)


def contents(folder: Path) -> Files:
    """The files of a folder, except those that are being written; none if there is no folder."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".part"]
    in_order = sorted(found, key=lambda path: path.stat().st_mtime_ns)
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in in_order}


def mirror(kept: Files, folder: Path) -> None:
    """Make a folder hold exactly these files, written in their order.

    Raises:
        NoSpace: the disk is full.
    """
    before = contents(folder)
    for name, content in kept.items():
        if before.get(name) != content:
            files.write(folder / name, content)
    for name in before.keys() - kept.keys():
        (folder / name).unlink()


def attempts(
    task: Task, folder: Path, kept: Files, fetch: Callable[[Any], Any]
) -> Generator[tuple[Files, tuple[str, Any] | None], None, None]:
    """Run a task in a folder of its own that is removed, and report after every checkpoint.

    Args:
        task: the task.
        folder: where it would put its own folder, named by its id.
        kept: the files of that folder that an interrupted attempt left.
        fetch: turns what stands for an array into the array, and leaves other values.

    Yields:
        the files of its folder so far and, the last time, what the task returns.
    """
    snapshots: SimpleQueue[Files | None] = SimpleQueue()
    with TemporaryDirectory(prefix="papagaio-") as root, ThreadPoolExecutor(1) as pool:
        own = Path(root) / task.id
        mirror(kept, own)

        def moved(leaf: object) -> object:
            return Path(root) if isinstance(leaf, Path) and leaf == folder else fetch(leaf)

        running = pool.submit(replaced(task, moved), partial(_told, own, snapshots, []))
        running.add_done_callback(lambda _: snapshots.put(None))
        while (snapshot := snapshots.get()) is not None:
            yield snapshot, None
        yield contents(own), running.result()


def _told(
    own: Path, snapshots: SimpleQueue[Files | None], sent: list[int], _: Step | Message
) -> None:
    """Send the files once for each checkpoint, and before the first one once for each change.

    It is called between two steps of the task, when no file is being written.
    """
    checkpoint = own / "checkpoint"
    watched = [checkpoint] if checkpoint.exists() else filter(Path.is_file, own.rglob("*"))
    written = max((path.stat().st_mtime_ns for path in watched), default=0)
    if written and written not in sent:
        sent.append(written)
        snapshots.put(contents(own))


def tolerate(task: Task, why: str, losses: Counter[str], progress: Progress) -> None:
    """Count that a task lost its worker, and say so.

    Raises:
        Lost: it has lost too many.
    """
    losses[task.id] += 1
    if losses[task.id] == _LOSSES:
        raise Lost(f"{task.id}: it lost its worker {_LOSSES} times ({why}); the rest is kept")
    progress(Message(f"{task.id}: it lost its worker ({why}) and continues on another"))
