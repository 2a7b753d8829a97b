"""A black box that is a Python function of the owner's, called in a process of its own.

There, a framework that the owner's code imports cannot crash the one that trains copies, and
whatever that code does to its process, the answers until then are kept.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from dataclasses import asdict, dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from queue import SimpleQueue

import numpy as np
from numpy.typing import NDArray

from papagaio.blackboxes.apart_process import INTERRUPTED, REFUSED, shared_images
from papagaio.blackboxes.contract import Contract, Declaration
from papagaio.errors import BadAnswer, BadSettings, PapagaioError

__all__ = ["FunctionApart", "open_function"]

# Modules are found at the same places as in this process.
_START = """
import json, sys
start = json.loads(sys.stdin.buffer.readline())
sys.path[:] = start.pop("path")
from papagaio.blackboxes.apart_process import run
run(**start)
"""
# Seconds until it is looked whether the process has ended: others may hold its end of a line.
_LOOK = 0.5
# Seconds in which the owner's code can end by itself, once it is not called any more.
_LAST = 5.0


@dataclass(frozen=True)
class Line:
    """What one request after another is sent over; their images are put in shared memory."""

    connection: Connection
    images: NDArray[np.uint8]


Lines = SimpleQueue[Line]


@dataclass(frozen=True)
class FunctionApart:
    """A function from uint8 (N, H, W, C) to float32 (N, K) in a process of its own.

    The process ends with `close`, with this object, or with this process, however that ends.
    """

    name: str
    identity: str
    contract: Contract
    process: subprocess.Popen[bytes]
    idle: Lines

    def answer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Call the function there.

        Raises:
            BadAnswer: it raised or broke its contract, or its process ended.
        """
        line = self.idle.get()
        try:
            line.images[: len(images)] = images
            line.connection.send_bytes(b"%d" % len(images))
            reply = _received(self.process, line.connection)
        except (EOFError, OSError) as error:
            raise BadAnswer(f"the process of {self.name} {_end_of(self.process)}") from error
        except BaseException:
            # Nobody waits for the reply that is still to come.
            self.process.kill()
            raise
        finally:
            self.idle.put(line)
        scores = np.frombuffer(_content(reply, BadAnswer), np.float32)
        return scores.reshape(-1, self.contract.classes).copy()

    def close(self) -> None:
        """End the process; a call that is under way is not waited for."""
        _end(self.process, self.idle, self.contract.concurrency)


def open_function(spec: str, declared: Declaration) -> FunctionApart:
    """A black box from `package.module:function` or `file.py:function`, imported in a new process.

    Args:
        spec: the name of the function.
        declared: what it takes and returns. Without an identity, a digest of the file that holds
            the function is used; it does not change when weights in other files do.

    Raises:
        BadSettings: there is no such function, its contract is not declared, or something is stated
            that it does not use.
    """
    declared.refuse_unused(spec, "concurrency")
    contract = declared.contract(spec)
    process, lines = _started(spec, contract)
    idle: Lines = SimpleQueue()
    try:
        digest = _digest(spec, process, lines[0])
    except BaseException:
        _end(process, idle, len(lines))
        raise
    for line in lines:
        idle.put(line)
    identity = declared.identity or f"function-sha256:{digest}"
    box = FunctionApart(spec, identity, contract, process, idle)
    weakref.finalize(box, _end, process, idle, len(lines))
    return box


def _started(spec: str, contract: Contract) -> tuple[subprocess.Popen[bytes], list[Line]]:
    try:
        pipes = [Pipe() for _ in range(contract.concurrency)]
        memory = _memory()
    except OSError as error:
        raise BadSettings(
            f"{spec}: its process cannot have so many lines ({error.strerror}); allow fewer",
            field="concurrency",
            value=contract.concurrency,
        ) from error
    sockets = [theirs.fileno() for _, theirs in pipes]
    images = _images(spec, memory, contract)
    process = subprocess.Popen(  # noqa: S603  # this interpreter
        [sys.executable, "-P", "-c", _START],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=2,  # what the function prints; this process's own stdout may be piped
        pass_fds=[*sockets, memory],
        process_group=0,  # Ctrl-C does not reach it
    )
    os.close(memory)
    for _, theirs in pipes:
        theirs.close()
    start = {"spec": spec, "contract": asdict(contract), "sockets": sockets, "memory": memory}
    start["path"] = [str(place) for place in sys.path]
    assert process.stdin  # noqa: S101  # a pipe
    with suppress(BrokenPipeError):  # noticed where it is received from
        process.stdin.write(json.dumps(start).encode() + b"\n")
    return process, [Line(ours, slot) for (ours, _), slot in zip(pipes, images, strict=True)]


def _images(spec: str, memory: int, contract: Contract) -> NDArray[np.uint8]:
    try:
        return shared_images(memory, contract)
    except (OSError, OverflowError, ValueError) as error:
        os.close(memory)
        raise BadSettings(
            f"{spec}: no memory for requests of so many images ({error}); allow fewer",
            field="batch",
            value=contract.batch,
        ) from error


def _digest(spec: str, process: subprocess.Popen[bytes], line: Line) -> str:
    try:
        return _content(_received(process, line.connection), BadSettings).decode()
    except (EOFError, OSError) as error:
        raise BadSettings(f"{spec}: the process that imports it {_end_of(process)}") from error


def _memory() -> int:
    """An open file in memory, without a name that could be left behind."""
    if hasattr(os, "memfd_create"):  # not on every system
        return os.memfd_create("papagaio")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _received(process: subprocess.Popen[bytes], connection: Connection) -> bytes:
    """What is sent next; EOFError or OSError if the process ends before."""
    while not connection.poll(_LOOK):
        if process.poll() is not None and not connection.poll():
            raise EOFError
    return connection.recv_bytes()


def _content(message: bytes, error: type[PapagaioError]) -> bytes:
    kind, content = message[:1], message[1:]
    if kind == INTERRUPTED:
        raise KeyboardInterrupt
    if kind == REFUSED:
        said, field = json.loads(content)
        raise error(said, field=field)
    return content


def _end_of(process: subprocess.Popen[bytes]) -> str:
    """How a process that sends nothing any more has ended, in words."""
    try:
        code = process.wait(_LAST)
    except subprocess.TimeoutExpired:
        process.kill()
        return "closed its connection"
    if code >= 0:
        return f"ended with exit code {code}"
    memory = ", probably for lack of memory" if code == -signal.SIGKILL else ""
    return f"was ended by signal {-code} ({signal.strsignal(-code)}){memory}"


def _end(process: subprocess.Popen[bytes], idle: Lines, lines: int) -> None:
    """Let a process end that waits for requests, and kill one that may never return."""
    if idle.qsize() < lines:
        process.kill()
    for _ in range(idle.qsize()):
        line = idle.get()
        line.connection.close()
        idle.put(line)
    try:
        process.wait(_LAST)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdin  # noqa: S101  # a pipe
    process.stdin.close()
