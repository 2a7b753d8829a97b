"""The process in which an owner's function runs; `apart.py` starts it and says what it is sent.

It imports the owner's code, NumPy, and what calls and checks a function: no framework of Papagaio's
can meet one of the owner's here.
"""

import json
import mmap
import os
import sys
import threading
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.contract import BlackBox, Contract, any_answers
from papagaio.blackboxes.function import FunctionBox
from papagaio.blackboxes.imported import import_function
from papagaio.errors import BadAnswer, BadSettings, PapagaioError

__all__ = ["INTERRUPTED", "REFUSED", "SUCCEEDED", "run", "shared_images"]

# The first byte of what this process sends. A digest or scores follow; an error's message and
# setting, as JSON; nothing.
SUCCEEDED, REFUSED, INTERRUPTED = b"s", b"r", b"i"


def run(spec: str, contract: dict[str, Any], sockets: Sequence[int], memory: int) -> None:
    """Import the function, send its digest over the first line, and answer until all are closed.

    Args:
        spec: the name of the function.
        contract: the fields of its contract.
        sockets: a line for each request that can be in flight. A request is the number of its
            images, in decimal; the reply is float32, row by row.
        memory: the open file in which each line has its images, see `shared_images`.
    """
    _end_with_the_parent()
    lines = [Connection(socket) for socket in sockets]
    # With stdout at the end of a pipe, prints would come late, and get lost in a crash.
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    try:
        imported = import_function(spec)
    except BadSettings as error:
        lines[0].send_bytes(REFUSED + _encoded(error))
        return
    except KeyboardInterrupt:
        lines[0].send_bytes(INTERRUPTED)
        return
    box = FunctionBox(spec, imported.digest, Contract(**contract), imported.function)
    lines[0].send_bytes(SUCCEEDED + imported.digest.encode())
    first, *others = zip(lines, shared_images(memory, box.contract), strict=True)
    for line in others:
        threading.Thread(target=_serve, args=(box, *line), daemon=True).start()
    # An owner's code may need the main thread.
    _serve(box, *first)


def shared_images(memory: int, contract: Contract) -> NDArray[np.uint8]:
    """The images of all lines, uint8 (lines, batch, H, W, C), in an open file that grows to fit."""
    shape = (contract.concurrency, contract.batch, *contract.shape)
    size = int(np.prod(shape, dtype=np.int64))
    os.truncate(memory, size)
    return np.frombuffer(mmap.mmap(memory, size), np.uint8).reshape(shape)


def _serve(box: BlackBox, line: Connection, images: NDArray[np.uint8]) -> None:
    """Answer the requests of one line until it is closed."""
    while True:
        try:
            count = int(line.recv_bytes())
            line.send_bytes(_reply(box, images[:count]))
        except (EOFError, OSError):
            return


def _reply(box: BlackBox, images: NDArray[np.uint8]) -> bytes:
    try:
        return SUCCEEDED + any_answers(box, images).tobytes()
    except BadAnswer as error:
        return REFUSED + _encoded(error)
    except KeyboardInterrupt:
        return INTERRUPTED


def _encoded(error: PapagaioError) -> bytes:
    return json.dumps([str(error.args[0]), error.field]).encode()


def _end_with_the_parent() -> None:
    """End at once when the other end of stdin is closed, whatever the owner's code is doing."""
    parent, nothing = os.dup(0), os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def watch() -> None:
        os.read(parent, 1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
