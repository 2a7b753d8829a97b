"""A real service of a small classifier on this machine, which can be told to fail."""

import base64
import contextlib
import io
import json
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.special import softmax

Pixels = NDArray[np.uint8]
Fault = Callable[["Handler"], None]

CLASSES = 3
SHAPE = (2, 4, 3)


def truth(images: Pixels) -> NDArray[np.float32]:
    """What the classifier answers: it depends on the place and the colour of every pixel."""
    flat = images.reshape(len(images), -1) / 255
    weights = np.random.default_rng(0).normal(0, 2, (flat.shape[1], CLASSES))
    return np.asarray(softmax(flat @ weights, axis=1), np.float32)


@dataclass
class Received:
    """A request as it arrived."""

    path: str
    headers: Message
    body: bytes
    images: int = 0


def status(code: int, body: str = "", **headers: str) -> Fault:
    def send(handler: "Handler") -> None:
        handler.reply(code, body.encode(), {k.replace("_", "-"): v for k, v in headers.items()})

    return send


def reset(handler: "Handler") -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    # Both refer to the socket, which is closed with the last of them.
    handler.rfile.close()
    handler.connection.close()
    handler.close_connection = True


def cut_off(handler: "Handler") -> None:
    """Announce more than is sent."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"predictions": [[0.1,')
    handler.close_connection = True


def never_ending(handler: "Handler") -> None:
    """A byte every few milliseconds, as long as somebody listens."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    with contextlib.suppress(OSError):
        for _ in range(1000):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.02)
    handler.close_connection = True


def enormous(handler: "Handler") -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", str(2**30))
    handler.end_headers()
    with contextlib.suppress(OSError):
        for _ in range(1024):
            handler.wfile.write(b" " * 2**20)
    handler.close_connection = True


@dataclass
class Service:
    """A running service.

    Attributes:
        answers: by path: from a request to its number of images and its answer.
        metadata: by path, what GET returns.
        faults: what happens to the next requests, None for nothing.
        most_faults: how many of them one request meets at most, when it is sent again.
        received: every POST, in the order of arrival.
    """

    answers: dict[str, Callable[[Received], tuple[Pixels, object]]] = field(default_factory=dict)
    metadata: dict[str, object] = field(default_factory=dict)
    faults: list[Fault | None] = field(default_factory=list)
    most_faults: int = 99
    received: list[Received] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    address: str = ""
    gets: list[str] = field(default_factory=list)

    @property
    def images(self) -> int:
        """How many images arrived, those of failed requests included."""
        return sum(request.images for request in self.received)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    service: Service

    def do_GET(self) -> None:
        self.service.gets.append(self.path)
        found = self.service.metadata.get(self.path)
        self.reply(404 if found is None else 200, json.dumps(found or {"error": "none"}).encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        request = Received(self.path, self.headers, body)
        answer = self.service.answers.get(self.path)
        if answer is None:
            self.reply(404, b'{"error": "no such model"}')
            return
        images, value = answer(request)
        request.images = len(images)
        with self.service.lock:
            tried = sum(one.body == body for one in self.service.received)
            self.service.received.append(request)
            may_fail = self.service.faults and tried < self.service.most_faults
            fault = self.service.faults.pop(0) if may_fail else None
        if fault:
            fault(self)
        else:
            self.reply(200, json.dumps(value).encode())

    def reply(self, code: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().finish()

    def log_message(self, *_: Any) -> None:  # noqa: ANN401  # the signature of the base class
        pass


class Server(ThreadingHTTPServer):
    """Lets nothing be printed when a client goes away."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(service: Service, tls: ssl.SSLContext | None = None) -> Iterator[Service]:
    """Run a service on a free port of this machine."""
    handler = type("OwnHandler", (Handler,), {"service": service})
    with Server(("127.0.0.1", 0), handler) as server:
        service.address = f"http://127.0.0.1:{server.server_address[1]}"
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
            service.address = f"https://localhost:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield service
        finally:
            server.shutdown()
            thread.join()


def as_bytes(pixels: NDArray[np.float64]) -> Pixels:
    return np.asarray(np.round(pixels), np.uint8)


def tensor(request: Received) -> tuple[Pixels, object]:
    """Open inference: planes of blue, green and red between 0 and 1."""
    asked = json.loads(request.body)
    (given,) = asked["inputs"]
    assert (given["name"], given["datatype"]) == ("pixels", "FP32")
    planes = np.array(given["data"], np.float64).reshape(given["shape"])
    images = as_bytes(planes.transpose(0, 2, 3, 1)[..., ::-1] * 255)
    scores = truth(images)
    output = {"name": "scores", "datatype": "FP32", "shape": scores.shape}
    return images, {
        "id": asked["id"],
        "model_name": "net",
        "outputs": [{**output, "data": scores.ravel().tolist()}],
    }


def instances(name: str) -> Callable[[Received], tuple[Pixels, object]]:
    """Nested lists from -1 to 1."""

    def answer(request: Received) -> tuple[Pixels, object]:
        images = as_bytes(np.array(json.loads(request.body)[name]) * 127.5 + 127.5)
        return images, {"predictions": truth(images).tolist()}

    return answer


def from_png(file: bytes) -> Pixels:
    image = np.asarray(Image.open(io.BytesIO(file)))
    return image[None] if image.ndim == 3 else image[None, :, :, None]


def png(request: Received) -> tuple[Pixels, object]:
    assert request.headers["Content-Type"] == "image/png"
    images = from_png(request.body)
    return images, {"scores": truth(images)[0].tolist()}


def form(request: Received) -> tuple[Pixels, object]:
    head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
    (part,) = BytesParser(policy=HTTP).parsebytes(head + request.body).iter_parts()
    assert part.get_param("name", header="content-disposition") == "photo"
    file = part.get_payload(decode=True)
    assert isinstance(file, bytes)
    images = from_png(file)
    return images, {"scores": [truth(images)[0].tolist()]}


def base64_pngs(request: Received) -> tuple[Pixels, object]:
    asked = json.loads(request.body)
    assert asked["model"] == "net"
    images = np.concatenate([from_png(base64.b64decode(text)) for text in asked["pictures"]])
    return images, {"result": {"rows": truth(images).tolist()}}


def data_url(request: Received) -> tuple[Pixels, object]:
    """Answers with the two best classes by name."""
    text = json.loads(request.body)["content"][0]["url"]
    head, _, data = text.partition(",")
    assert head == "data:image/png;base64"
    images = from_png(base64.b64decode(data))
    (scores,) = truth(images)
    best = np.argsort(-scores)[:2]
    return images, [{"name": "abc"[k], "probability": float(scores[k])} for k in best]
