"""`papagaio serve`: the practice service, in processes of its own and in this one."""

import base64
import http.client
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import schemathesis
from conftest import Papagaio
from hypothesis import HealthCheck, given, settings
from killing_http import Asking, kill
from numpy.typing import NDArray
from practising import Practice, exchanged, practising, usage_of
from schemathesis.checks import not_a_server_error

from papagaio.asking import ask
from papagaio.blackboxes.contract import BlackBox, Contract, Declaration
from papagaio.blackboxes.function import FunctionBox
from papagaio.blackboxes.named import open_black_box
from papagaio.errors import BadAnswer, BadSettings
from papagaio.images.imageset import ImageSet
from papagaio.images.png import png
from papagaio.ledger import Ledger
from papagaio.options import validated
from papagaio.responses import derive
from papagaio.serving import faults
from papagaio.serving.app import app_of
from papagaio.serving.faults import FAULTS, Conditions
from papagaio.serving.run import Service
from papagaio.serving.settings import ServeOptions
from papagaio.serving.shown import showing
from papagaio.serving.usage import Allowance, Usage
from papagaio.vocabulary import RESPONSES

SHAPE, CLASSES = (4, 5, 3), 6
BATCH = 16
# By hand: PAPAGAIO_EXAMPLES=400 makes thousands of requests.
EXAMPLES = int(os.environ.get("PAPAGAIO_EXAMPLES", "30"))
BOX = f"""
import numpy as np

WEIGHTS = np.random.default_rng(7).normal(0, 1, ({np.prod(SHAPE)}, {CLASSES}))


def predict(images):
    scores = np.exp(images.reshape(len(images), -1) / 255 @ WEIGHTS)
    return (scores / scores.sum(1, keepdims=True)).astype("float32")
"""


def images_of(count: int, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *SHAPE), np.uint8)


IMAGES = images_of(1000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("serve")
    (made / "box.py").write_text(BOX)
    return made


@pytest.fixture(scope="module")
def box(folder: Path) -> BlackBox:
    declared = Declaration(SHAPE, CLASSES, batch=len(IMAGES))
    return open_black_box(f"{folder}/box.py:predict", declared)


@pytest.fixture(scope="module")
def processes(folder: Path) -> Iterator[dict[str, Practice]]:
    """Two services, which start at the same time."""
    declared = f"{folder}/box.py:predict", "--input", "4x5x3", "--classes", CLASSES
    with (
        practising(*declared, "--price-per-1000", 2.5) as plain,
        practising(*declared, "--faults", 0.2) as faulty,
    ):
        yield {"plain": plain, "faulty": faulty}


@contextmanager
def serving(box: BlackBox, **options: object) -> Iterator[str]:
    """Run a service in a thread of this process; yields the address of its model."""
    given = {"black-box": "box", "port": 0, **options}
    checked = validated(ServeOptions, given)
    service = Service(box, checked)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield service.address
    finally:
        service.server.should_exit = True
        thread.join()


Asked = Callable[..., tuple[NDArray[np.float32], int]]


@pytest.fixture
def asked(tmp_path: Path) -> Asked:
    """Asks as an audit does, again where it stops with answers kept; also counts what is kept."""

    def all_of(
        address: str,
        images: NDArray[np.uint8],
        **stated: Any,  # noqa: ANN401  # of a declaration
    ) -> tuple[NDArray[np.float32], int]:
        opened = open_black_box(address, Declaration(**{"batch": BATCH, **stated}))
        pictures = ImageSet.of("images", images)
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            for _ in range(9):
                try:
                    answers = ask(opened, pictures, ledger)
                    break
                except BadAnswer:
                    continue
            opened.close()
            return answers, ledger.totals()[0].answers

    return all_of


def test_a_service_gives_the_answers_of_its_black_box_and_counts_and_prices_them(
    processes: dict[str, Practice], box: BlackBox, asked: Asked
) -> None:
    service = processes["plain"]
    answers, kept = asked(service.address, IMAGES)
    np.testing.assert_array_equal(answers, box.answer(IMAGES))
    counted = service.usage()
    assert counted["images"] == kept == len(IMAGES)
    assert (counted["requests"], counted["cut_off"]) == (63, 0)
    assert counted["price"] == 2.5


def test_with_all_faults_the_answers_are_the_same_and_the_rest_of_the_bill_is_explained(
    processes: dict[str, Practice], box: BlackBox, asked: Asked
) -> None:
    service = processes["faulty"]
    answers, kept = asked(service.address, IMAGES, concurrency=4, batch=10)
    np.testing.assert_array_equal(answers, box.answer(IMAGES))
    counted = service.usage()
    assert kept == len(IMAGES)
    assert counted["images"] - counted["cut_off"] == kept
    assert counted["cut_off"] > 0
    # Some requests were refused before they reached the black box.
    assert counted["requests"] > counted["images"] / 10


def test_killed_while_asking_through_faults_it_loses_no_answer(
    processes: dict[str, Practice], box: BlackBox, tmp_path: Path
) -> None:
    images = ImageSet.of("others", images_of(160, seed=2))
    asking = Asking(images, tmp_path / "killed.sqlite", batch=2, concurrency=4)
    account = kill(asking, processes["faulty"], kills=3)
    assert (account.kills, account.lost, account.beyond) == (3, 0, 0)
    assert account.most_twice <= asking.batch * asking.concurrency
    with Ledger(asking.ledger) as ledger:
        (totals,) = ledger.totals()
        answers = ledger.read(totals.question, images.digests)
    np.testing.assert_array_equal(answers, box.answer(images.pixels))
    assert account.twice <= totals.interrupted


def test_it_says_what_to_try_and_ctrl_c_ends_it_quietly(processes: dict[str, Practice]) -> None:
    service = processes["plain"]
    commands = [line.split("papagaio ")[1].split() for line in service.said[1:]]
    assert [words[:2] for words in commands] == [
        ["check", service.address],
        ["audit", service.address],
    ]
    service.process.send_signal(signal.SIGINT)
    _, rest = service.process.communicate(timeout=30)
    assert (service.process.returncode, rest) == (0, "")


def test_an_audit_and_a_check_need_nothing_but_the_address_and_images(
    box: BlackBox, papagaio: Papagaio, tmp_path: Path
) -> None:
    labels = box.answer(IMAGES[:60]).argmax(1)
    np.savez(tmp_path / "test.npz", images=IMAGES[:60], labels=labels)
    np.savez(tmp_path / "transfer.npz", images=IMAGES[60:100])
    named = f"--test={tmp_path}/test.npz"
    # These only make it fast.
    fast = "--controls=none", "--epochs=1", "--precision=float32", "--threads=1", "--device=cpu"
    with serving(box) as address:
        checked = papagaio("check", address, named)
        asked_before = usage_of(address)["images"]
        words = f"--transfer={tmp_path}/transfer.npz", "--budget=30", f"--out={tmp_path}/run"
        audited = papagaio("audit", address, named, *words, *fast)
        counted = usage_of(address)
    assert (checked.code, audited.code) == (0, 0), audited.stderr
    assert "accuracy\t100" in checked.stdout
    assert counted["images"] - asked_before == 60 + 30 + 2  # canaries


@pytest.mark.parametrize("response", RESPONSES)
def test_it_shows_what_it_is_told_to_show(
    response: Any,  # noqa: ANN401  # one of a closed list
    box: BlackBox,
    asked: Asked,
) -> None:
    with serving(box, shows=response) as address:
        answers, _ = asked(address, IMAGES[:40], response=response)
        told = posted(address, "/classify", {"images": [encoded(IMAGES[0])]})
    shown = derive(box.answer(IMAGES[:40]), "probabilities", response)
    np.testing.assert_array_equal(answers, shown.scores)
    pairs = told["answers"][0]
    assert (
        pairs
        == [
            {"label": str(k), "score": float(shown.scores[0, k])}
            for k in np.argsort(-shown.scores[0], kind="stable")[: shown.known[0].sum()]
        ][: 1 if response == "label" else None]
    )


def test_it_shows_nothing_that_the_black_box_does_not_show() -> None:
    labels = FunctionBox("labels", "labels", Contract(*SHAPE, CLASSES, response="label"), flat)
    with pytest.raises(BadSettings, match=r"^shows top-3: labels itself shows only label"):
        showing(labels, "top-3")
    assert showing(labels, None).contract.response == "label"


def test_the_version_changes_with_the_black_box_and_with_what_it_shows(box: BlackBox) -> None:
    versions = []
    for options in ({}, {}, {"shows": "label"}):
        with serving(box, **options) as address:
            _, _, content = exchanged(address, "/v2/models/model", method="GET")
        versions += json.loads(content)["versions"]
    assert versions[0] == versions[1] != versions[2]


def encoded(image: NDArray[np.uint8]) -> str:
    return base64.b64encode(png(image)).decode()


def test_the_plain_form_is_described_in_a_few_lines(
    box: BlackBox, tmp_path: Path, asked: Asked
) -> None:
    with serving(box) as address:
        described = tmp_path / "endpoint.toml"
        described.write_text(
            f'url = "{address.partition("/v2")[0]}/classify"\nimage = "base64-png"\n'
            """body = '{"images": "$images"}'\nscores = "answers"\n"""
            f"labels = {json.dumps([str(k) for k in range(CLASSES)])}\n"
        )
        answers, _ = asked(str(described), IMAGES[:40], shape=SHAPE)
        nested = posted(address, "/classify", {"images": IMAGES[:2].tolist()})
    np.testing.assert_array_equal(answers, box.answer(IMAGES[:40]))
    assert [len(pairs) for pairs in nested["answers"]] == [CLASSES] * 2


def test_requests_beyond_the_limit_are_told_when_to_come_again(box: BlackBox, asked: Asked) -> None:
    with serving(box, requests_per_second=5) as address:
        start = time.monotonic()
        answers, _ = asked(address, IMAGES[: 10 * BATCH], concurrency=3)
        assert time.monotonic() - start > 1
        counted = usage_of(address)
    np.testing.assert_array_equal(answers, box.answer(IMAGES[: 10 * BATCH]))
    assert counted["images"] == 10 * BATCH
    assert counted["requests"] > 10


def test_an_allowance_holds_the_requests_of_one_second() -> None:
    now = 0.0
    allowance = Allowance(2, lambda: now)
    assert [allowance.wait() for _ in range(4)] == [0, 0, 0.5, 0.5]
    now = 0.25
    assert allowance.wait() == 0.25
    now = 60
    assert [allowance.wait() for _ in range(3)] == [0, 0, 0.5]
    assert not any(Allowance(None).wait() for _ in range(9))


def test_a_request_waits_for_the_latency(box: BlackBox) -> None:
    with serving(box, latency=0.3) as address:
        start = time.monotonic()
        posted(address, "/classify", {"images": [encoded(IMAGES[0])]})
        assert time.monotonic() - start >= 0.3


def posted(address: str, path: str, body: object) -> Any:  # noqa: ANN401  # any JSON
    status, _, content = exchanged(address, path, json.dumps(body).encode())
    assert status == 200, content
    return json.loads(content)


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_is_what_it_is_called(
    kind: str, box: BlackBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "FAULTS", {kind: FAULTS[kind]})
    body = json.dumps({"images": [encoded(IMAGES[0])]}).encode()
    start = time.monotonic()
    with serving(box, faults=1) as address:
        try:
            status, headers, content = exchanged(address, "/classify", body)
            outcome = str(status), headers.get("retry-after", "")
            taken = time.monotonic() - start
        except (OSError, http.client.HTTPException) as error:
            outcome, content, taken = (type(error).__name__, ""), b"", 0.0
        counted = usage_of(address)
    date = r"\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT"
    expected = {
        "too many, wait a second": ("429", "1"),
        "too many, wait until": ("429", date),
        "failed": ("500", ""),
        "not available": ("503", ""),
        "reset": ("ConnectionResetError", ""),
        "slow": ("200", ""),
        "cut off": ("IncompleteRead", ""),
    }
    for pattern, found in zip(expected[kind], outcome, strict=True):
        assert re.fullmatch(pattern, found)
    assert counted["images"] == (kind in ("reset", "slow", "cut off"))
    assert counted["cut_off"] == (kind in ("reset", "cut off"))
    if kind == "slow":
        assert len(json.loads(content)["answers"]) == 1
        assert taken > 0.5


@pytest.fixture(scope="module")
def running(box: BlackBox) -> Iterator[str]:
    with serving(box) as address:
        yield address


TENSOR = {"name": "images", "datatype": "UINT8", "shape": [1, *SHAPE], "data": [7] * 60}


@pytest.mark.parametrize(
    ("path", "body", "said"),
    [
        ("/v2/models/other/infer", {}, "Not Found"),
        ("/v2/models/model/infer", {"inputs": []}, "at least 1 item"),
        ("/v2/models/model/infer", {"inputs": [TENSOR, TENSOR]}, "at most 1 item"),
        ("/v2/models/model/infer", {"inputs": [TENSOR | {"datatype": "BYTES"}]}, "'UINT8'"),
        ("/v2/models/model/infer", {"inputs": [TENSOR | {"shape": [1, 3, 4, 5]}]}, "4x5x3"),
        ("/v2/models/model/infer", {"inputs": [TENSOR | {"shape": [0, *SHAPE]}]}, "equal to 1"),
        ("/v2/models/model/infer", {"inputs": [TENSOR | {"shape": [2, *SHAPE]}]}, "60 numbers"),
        ("/v2/models/model/infer", {"inputs": [TENSOR | {"data": [0.5] * 60}]}, "whole numbers"),
        ("/v2/models/model/infer", {"inputs": [TENSOR | {"data": [256] * 60}]}, "0 to 255"),
        ("/v2/models/model/infer", {"inputs": [TENSOR | {"data": [None] * 60}]}, "null"),
        ("/v2/models/model/infer", {"inputs": [TENSOR | {"data": [np.nan] * 60}]}, "0 to 255"),
        ("/v2/models/model/infer", {"inputs": [TENSOR | {"data": [[1], [2, 3]]}]}, "lengths"),
        ("/classify", {"images": []}, "at least 1 item"),
        ("/classify", {"images": ["%"]}, "image 0 is neither base64 nor nested lists"),
        ("/classify", {"images": [base64.b64encode(b"GIF89a").decode()]}, "not a readable image"),
        ("/classify", {"images": [encoded(np.zeros((4, 5, 1), np.uint8))]}, "4x5x1"),
        ("/classify", [], "body"),
    ],
)
def test_a_bad_request_is_one_line(path: str, body: object, said: str, running: str) -> None:
    before = usage_of(running)["images"]
    status, _, content = exchanged(running, path, json.dumps(body).encode())
    answer = json.loads(content)
    assert 400 <= status < 500
    assert said in answer["error"]
    assert "\n" not in answer["error"]
    assert usage_of(running)["images"] == before


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 20_000, b"\xff\xfe", b"1" * 9_999])
def test_what_is_no_json_is_refused(body: bytes, running: str) -> None:
    status, _, content = exchanged(running, "/classify", body)
    assert 400 <= status < 500
    assert list(json.loads(content)) == ["error"]


def test_floats_are_taken_for_bytes_and_the_id_comes_back(running: str, box: BlackBox) -> None:
    tensor = TENSOR | {"datatype": "FP32", "data": IMAGES[:1].astype(float).tolist()}
    answer = posted(running, "/v2/models/model/infer", {"id": "é 7", "inputs": [tensor]})
    assert answer["id"] == "é 7"
    assert answer["outputs"][0]["shape"] == [1, CLASSES]
    np.testing.assert_array_equal(
        np.float32(answer["outputs"][0]["data"]), box.answer(IMAGES[:1])[0]
    )


def test_an_id_that_is_no_unicode_does_not_break_the_answer(running: str) -> None:
    answer = posted(running, "/v2/models/model/infer", {"id": "\ud800", "inputs": [TENSOR]})
    assert answer["id"] == "\ud800"


def test_a_black_box_that_fails_is_a_failure_of_the_service() -> None:
    def fail(_: NDArray[np.uint8]) -> NDArray[np.float32]:
        raise ValueError("out\nof order")

    broken = FunctionBox("broken", "broken", Contract(*SHAPE, CLASSES), fail)
    with serving(broken) as address:
        body = json.dumps({"images": [encoded(IMAGES[0])]}).encode()
        status, _, content = exchanged(address, "/classify", body)
        assert usage_of(address)["images"] == 0
    assert status == 500
    said = json.loads(content)["error"]
    assert re.fullmatch(r"broken raised ValueError: out of order \(test_serve.py, line \d+\)", said)


def test_a_black_box_is_called_by_one_thread_and_given_no_more_than_it_takes(
    box: BlackBox, asked: Asked
) -> None:
    calls: list[tuple[int, int]] = []
    at_once = 0

    def watched(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal at_once
        at_once += 1
        time.sleep(0.01)
        calls.append((at_once, len(images)))
        at_once -= 1
        return box.answer(images)

    contract = Contract(*SHAPE, CLASSES, batch=5)
    with serving(FunctionBox("watched", "watched", contract, watched)) as address:
        answers, _ = asked(address, IMAGES[:64], concurrency=4)
    np.testing.assert_array_equal(answers, box.answer(IMAGES[:64]))
    assert set(calls) == {(1, 5), (1, 1)}


def test_a_port_that_is_taken_is_one_line(box: BlackBox) -> None:
    with serving(box) as address:
        port = int(address.split(":")[2].split("/")[0])
        with pytest.raises(BadSettings, match=rf"^port {port}: cannot be had .*Address already"):
            Service(box, validated(ServeOptions, {"black-box": "box", "port": port}))


def test_a_missing_extra_is_one_line(papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [one for one in sys.modules if one.startswith("papagaio.serving.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    ended = papagaio("serve", "box.py:predict")
    assert ended.code == 2
    assert ended.complaint == (
        "papagaio: papagaio serve needs fastapi: pip install '.[serve]' in Papagaio's checkout"
    )


def flat(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.full((len(images), CLASSES), 1 / CLASSES, np.float32)


COUNTED = Usage()
FUZZED = schemathesis.openapi.from_asgi(
    "/openapi.json",
    Conditions(
        app_of(FunctionBox("flat", "flat", Contract(1, 1, 1, CLASSES), flat), COUNTED),
        COUNTED,
        Allowance(None),
    ),
)


# One test, as xdist runs only one of several with the same name.
def test_no_request_is_an_error_of_the_server_and_some_are_answered() -> None:
    for methods in FUZZED.values():
        for operation in methods.values():
            # Too slow is a matter of the machine.
            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                derandomize=True,
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy())
            def is_no_error(case: schemathesis.Case[Any]) -> None:
                case.call_and_validate(checks=[not_a_server_error])

            is_no_error()
    assert COUNTED.requests > EXAMPLES
    assert COUNTED.images > 0
