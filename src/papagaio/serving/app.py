"""The routes of a service: a black box -> a FastAPI application."""

import asyncio
import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import numpy as np
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from numpy.typing import NDArray
from starlette.exceptions import HTTPException

from papagaio.blackboxes.contract import BlackBox, checked_answers
from papagaio.errors import BadAnswer
from papagaio.serving.messages import (
    BadRequest,
    Inference,
    JsonAnswer,
    Pictures,
    labelled,
    scores_tensor,
)
from papagaio.serving.usage import Usage
from papagaio.version import __version__

__all__ = ["MODEL", "app_of"]

MODEL = "model"


@dataclass(frozen=True)
class _Model:
    """A black box that is asked by several requests at once, as far as its contract allows it."""

    box: BlackBox
    usage: Usage
    threads: ThreadPoolExecutor

    @property
    def version(self) -> str:
        """Changes with the black box, so that a client does not take its answers for another's."""
        named = f"{self.box.identity} {self.box.contract.response}"
        return hashlib.sha256(named.encode()).hexdigest()[:12]

    async def answer(self, images: NDArray[np.uint8], request: Request) -> NDArray[np.float32]:
        loop = asyncio.get_running_loop()
        scores = await loop.run_in_executor(self.threads, self._scores, images)
        self.usage.images += len(images)
        request.state.images = len(images)
        return scores

    def _scores(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        size = self.box.contract.batch
        parts = [images[at : at + size] for at in range(0, len(images), size)]
        return np.concatenate([checked_answers(self.box, part) for part in parts])


def app_of(box: BlackBox, usage: Usage) -> FastAPI:
    """An application that answers with a black box.

    It speaks the Open Inference Protocol, version 2, and a plain form of JSON. What is wrong with a
    request is one line, with a status of 4xx; if the black box itself fails, 500.

    Args:
        box: the black box; as many threads as its contract allows call it.
        usage: where images are counted.
    """
    app = FastAPI(title=box.name, version=__version__, docs_url=None, redoc_url=None)
    model = _Model(box, usage, ThreadPoolExecutor(box.contract.concurrency))
    _add_errors(app)
    _add_open_inference(app, model)

    @app.post("/classify")
    async def classify(asked: Pictures, request: Request) -> JsonAnswer:
        """Classify images; the answer has pairs of label and score for each, highest first."""
        scores = await model.answer(asked.pixels(box.contract.shape), request)
        return JsonAnswer({"answers": labelled(scores, box.contract)})

    @app.get("/usage")
    async def account() -> JsonAnswer:
        """What the service counted since it started, and the price of it."""
        return JsonAnswer({**asdict(usage), "price": usage.price})

    return app


def _add_open_inference(app: FastAPI, model: _Model) -> None:
    contract = model.box.contract
    place = f"/v2/models/{MODEL}"

    @app.get("/v2")
    async def server() -> JsonAnswer:
        return JsonAnswer({"name": "papagaio", "version": __version__, "extensions": []})

    @app.get("/v2/health/live")
    async def live() -> JsonAnswer:
        return JsonAnswer({"live": True})

    @app.get("/v2/health/ready")
    async def ready() -> JsonAnswer:
        return JsonAnswer({"ready": True})

    @app.get(f"{place}/ready")
    async def model_ready() -> JsonAnswer:
        return JsonAnswer({"name": MODEL, "ready": True})

    @app.get(place)
    async def metadata() -> JsonAnswer:
        images = {"name": "images", "datatype": "UINT8", "shape": [-1, *contract.shape]}
        scores = {"name": "scores", "datatype": "FP32", "shape": [-1, contract.classes]}
        about = {"name": MODEL, "versions": [model.version], "platform": "papagaio"}
        return JsonAnswer({**about, "inputs": [images], "outputs": [scores]})

    @app.post(f"{place}/infer")
    async def infer(asked: Inference, request: Request) -> JsonAnswer:
        """Classify images (N, H, W, C) of whole numbers from 0 to 255."""
        scores = await model.answer(asked.inputs[0].images(contract.shape), request)
        about = {"model_name": MODEL, "model_version": model.version}
        named = {"id": asked.id} if asked.id is not None else {}
        return JsonAnswer({**about, **named, "outputs": [scores_tensor(scores)]})


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(RequestValidationError)
    async def misshapen(_: Request, error: RequestValidationError) -> JsonAnswer:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        return _problem(f"{where}: {first['msg']}", 400)

    @app.exception_handler(BadRequest)
    async def wrong(_: Request, error: BadRequest) -> JsonAnswer:
        return _problem(str(error), 400)

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> JsonAnswer:
        return _problem(str(error.detail), error.status_code)

    @app.exception_handler(BadAnswer)
    async def broken(_: Request, error: BadAnswer) -> JsonAnswer:
        return _problem(str(error), 500)


def _problem(text: str, status: int) -> JsonAnswer:
    return JsonAnswer({"error": " ".join(text.split())}, status)
