"""Services as black boxes, asked over real connections to a server on this machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import serving
from conftest import Papagaio, Tiny
from numpy.typing import NDArray
from serving import Service, reset, status, truth

from papagaio.asking import ask
from papagaio.blackboxes.contract import BlackBox, Declaration, checked_answers
from papagaio.blackboxes.json_arrays import json_of
from papagaio.blackboxes.named import open_black_box
from papagaio.blackboxes.pixels import PixelForm
from papagaio.blackboxes.retries import RateLimit
from papagaio.blackboxes.sending import Body, Client, open_client
from papagaio.blackboxes.service import HttpBox
from papagaio.errors import BadAnswer, BadSettings, NoAnswer
from papagaio.images.imageset import ImageSet
from papagaio.ledger import Ledger

DECLARED = Declaration(serving.SHAPE, classes=serving.CLASSES, batch=16)
SCALED = {"v2": "0..1", "tf": "-1..1", "mlflow": "-1..1"}
PATHS = {
    "v2": "/v2/models/net",
    "tf": "/v1/models/net:predict",
    "mlflow": "/invocations",
}
METADATA = {
    "name": "net",
    "versions": ["3"],
    "inputs": [{"name": "pixels", "datatype": "FP32", "shape": [-1, 3, 2, 4]}],
    "outputs": [{"name": "scores", "datatype": "FP32", "shape": [-1, 3]}],
}
Open = Callable[..., HttpBox]
Described = Callable[..., BlackBox]


def images_of(count: int, seed: int = 1) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (count, *serving.SHAPE), np.uint8)


IMAGES = images_of(7)


@pytest.fixture
def service() -> Iterator[Service]:
    answers = {
        f"{PATHS['v2']}/infer": serving.tensor,
        f"{PATHS['v2']}/versions/3/infer": serving.tensor,
        PATHS["tf"]: serving.instances("instances"),
        PATHS["mlflow"]: serving.instances("inputs"),
        "/png": serving.png,
        "/form": serving.form,
        "/base64": serving.base64_pngs,
        "/url": serving.data_url,
    }
    metadata: dict[str, object] = {
        PATHS["v2"]: METADATA,
        f"{PATHS['v2']}/versions/3": METADATA,
    }
    with serving.serving(Service(answers, metadata)) as running:
        yield running


@pytest.fixture
def opened(service: Service) -> Iterator[Open]:
    """Opens a black box that does not wait, and closes it at the end."""
    boxes: list[HttpBox] = []

    def of(kind: str, **more: Any) -> HttpBox:  # noqa: ANN401  # fields of a declaration
        stated = replace(DECLARED, scale=SCALED[kind])
        if kind == "v2":
            stated = replace(stated, colour_order="bgr")
        box = open_black_box(service.address + PATHS[kind], replace(stated, **more))
        assert isinstance(box, HttpBox)
        box.client.wait = lambda _: None
        boxes.append(box)
        return box

    yield of
    for box in boxes:
        box.close()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(service: Service, waits: list[float]) -> Iterator[Client]:
    made = open_client(service.address, Declaration(), waits.append)
    yield made
    made.close()


def posted(client: Client, service: Service, path: str = PATHS["mlflow"]) -> bytes:
    body = Body(json.dumps({"inputs": (IMAGES / 127.5 - 1).tolist()}).encode())
    return client.post(service.address + path, body)


def pauses(waits: list[float]) -> list[float]:
    """Without the turns of the rate limit."""
    return [seconds for seconds in waits if seconds]


@pytest.mark.parametrize("kind", PATHS)
def test_each_protocol_gives_the_answers_of_the_model(kind: str, opened: Open) -> None:
    box = opened(kind)
    np.testing.assert_allclose(checked_answers(box, IMAGES), truth(IMAGES), atol=1e-6)
    np.testing.assert_allclose(checked_answers(box, IMAGES[:1]), truth(IMAGES[:1]), atol=1e-6)


def test_metadata_give_shape_classes_and_version(service: Service, opened: Open) -> None:
    box = opened("v2", shape=None, classes=None)
    assert (box.contract.shape, box.contract.classes) == (serving.SHAPE, serving.CLASSES)
    assert box.identity == f"{service.address}/v2/models/net 3 0..1 bgr nchw float32 probabilities"
    assert service.received == []


def test_opening_sends_no_image_and_the_scale_is_part_of_the_identity(
    service: Service, opened: Open
) -> None:
    identities = {opened("tf", scale=scale).identity for scale in ("0..1", "imagenet")}
    assert len(identities) == 2
    assert (service.received, service.gets) == ([], [])


def test_each_request_has_an_id_of_its_own_and_keeps_it_when_it_is_sent_again(
    service: Service, opened: Open
) -> None:
    service.faults = [status(503)]
    box = opened("v2")
    for _ in range(2):
        box.answer(IMAGES)
    first, again, second = (json.loads(one.body)["id"] for one in service.received)
    assert first == again != second


def test_empty_metadata_leave_everything_to_the_owner(service: Service) -> None:
    service.metadata[PATHS["v2"]] = {"name": "net", "versions": None, "inputs": [], "outputs": []}

    def answer(request: serving.Received) -> tuple[NDArray[np.uint8], object]:
        (given,) = json.loads(request.body)["inputs"]
        images = serving.as_bytes(np.array(given["data"]).reshape(given["shape"]))
        data = truth(images).tolist()
        outputs = [
            {"name": "hidden", "shape": [1], "data": [1]},
            {"name": "scores", "shape": np.shape(data), "data": data},
        ]
        return images, {"outputs": outputs}

    service.answers[f"{PATHS['v2']}/infer"] = answer
    url = service.address + PATHS["v2"]
    with pytest.raises(BadSettings, match=r"^scale: .* on which scale"):
        open_black_box(url, DECLARED)
    box = open_black_box(url, replace(DECLARED, scale="0..255", output="scores"))
    np.testing.assert_allclose(checked_answers(box, IMAGES), truth(IMAGES), atol=1e-6)
    box.close()
    box = open_black_box(url, replace(DECLARED, scale="0..255"))
    with pytest.raises(BadAnswer, match=r"^output: .* hidden, scores; name the one"):
        checked_answers(box, IMAGES)
    box.close()


def test_a_model_that_takes_bytes_needs_no_scale(service: Service) -> None:
    inputs = [{"name": "pixels", "datatype": "UINT8", "shape": [1, 2, 4, 3]}]
    service.metadata[PATHS["v2"]] = {**METADATA, "inputs": inputs}

    def answer(request: serving.Received) -> tuple[NDArray[np.uint8], object]:
        (given,) = json.loads(request.body)["inputs"]
        assert given["datatype"] == "UINT8"
        images = np.array(given["data"]).reshape(given["shape"])
        assert images.dtype.kind == "i"
        scores = truth(images)
        return images, {
            "outputs": [{"name": "scores", "shape": scores.shape, "data": scores.tolist()}]
        }

    service.answers[f"{PATHS['v2']}/infer"] = answer
    box = open_black_box(service.address + PATHS["v2"], Declaration())
    # Its metadata say that it takes one image.
    assert box.contract.batch == 1
    np.testing.assert_allclose(checked_answers(box, IMAGES[:1]), truth(IMAGES[:1]), atol=1e-6)
    box.close()


def test_a_version_is_part_of_the_address(service: Service) -> None:
    stated = replace(DECLARED, scale="0..1", colour_order="bgr")
    box = open_black_box(f"{service.address}{PATHS['v2']}/versions/3", stated)
    np.testing.assert_allclose(checked_answers(box, IMAGES), truth(IMAGES), atol=1e-6)
    assert service.received[0].path == "/v2/models/net/versions/3/infer"
    box.close()


def test_labels_and_logits_become_scores(service: Service, opened: Open) -> None:
    named = truth(IMAGES).argmax(1)
    service.answers[PATHS["tf"]] = lambda _: (IMAGES, {"predictions": named.tolist()})
    box = opened("tf", returned="labels")
    assert box.contract.response == "label"
    assert checked_answers(box, IMAGES).argmax(1).tolist() == named.tolist()
    logits = np.log(truth(IMAGES)) + 3
    service.answers[PATHS["tf"]] = lambda _: (IMAGES, logits.tolist())
    answers = checked_answers(opened("tf", returned="logits"), IMAGES)
    np.testing.assert_allclose(answers, truth(IMAGES), atol=1e-6)


def test_one_of_several_outputs_is_chosen(service: Service, opened: Open) -> None:
    rows = [{"hidden": [1.0], "scores": row} for row in truth(IMAGES).tolist()]
    service.answers[PATHS["tf"]] = lambda _: (IMAGES, {"predictions": rows})
    answers = checked_answers(opened("tf", output="scores"), IMAGES)
    np.testing.assert_allclose(answers, truth(IMAGES), atol=1e-6)
    with pytest.raises(BadAnswer, match="the outputs hidden, scores; name the one"):
        checked_answers(opened("tf"), IMAGES)


FAULTS = [
    *(None, status(503), None, reset, None, status(429, Retry_After="0"), None, status(500)),
    *(serving.cut_off, None, None, status(502), status(504), reset, None, status(408)),
]


@pytest.mark.parametrize("kind", PATHS)
def test_whatever_fails_for_a_while_every_image_is_answered_and_counted_once(
    kind: str, service: Service, opened: Open, tmp_path: Path
) -> None:
    pixels = images_of(60)
    box = opened(kind, batch=4, concurrency=4)
    service.faults, service.most_faults = [*FAULTS], 3
    failed = sum(fault is not None for fault in FAULTS)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        answers = ask(box, ImageSet.of("random", pixels), ledger)
        (totals,) = ledger.totals()
        assert not list(ledger.problems())
    np.testing.assert_allclose(answers, truth(pixels), atol=1e-6)
    assert (totals.answers, totals.requests, totals.interrupted) == (60, 15, 0)
    assert service.faults == []
    assert len(service.received) == 15 + failed
    assert service.images == 60 + 4 * failed


def test_at_most_as_many_requests_as_allowed_are_in_flight(
    service: Service, tmp_path: Path
) -> None:
    now, most = 0, 0
    plain = service.answers[PATHS["mlflow"]]

    def counting(request: serving.Received) -> tuple[NDArray[np.uint8], object]:
        nonlocal now, most
        with service.lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        with service.lock:
            now -= 1
        return plain(request)

    service.answers[PATHS["mlflow"]] = counting
    stated = replace(DECLARED, batch=2, concurrency=3, scale="-1..1")
    box = open_black_box(service.address + PATHS["mlflow"], stated)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ask(box, ImageSet.of("random", images_of(30)), ledger)
    box.close()
    assert most == 3


@pytest.mark.parametrize("fault", [*map(status, (408, 425, 429, 502, 503, 504)), reset])
def test_a_busy_service_is_asked_five_times_with_growing_pauses(
    service: Service, client: Client, waits: list[float], fault: serving.Fault
) -> None:
    service.faults = [fault] * 4
    assert b"predictions" in posted(client, service)
    assert len(service.received) == 5
    first, *_, last = pauses(waits)
    assert len(pauses(waits)) == 4
    assert 0.5 <= first <= 1
    assert 13 <= last <= 27
    service.faults = [fault] * 5
    with pytest.raises(BadAnswer, match=r"\(5 tries\)"):
        posted(client, service)
    assert len(service.received) == 10


@pytest.mark.parametrize(
    ("code", "field", "said"),
    [
        (400, None, "400 Bad Request: the model says no"),
        (401, "headers", "key"),
        (403, "headers", "key"),
        (404, None, "check the address"),
        (413, "batch", "fewer images"),
        (422, None, "422"),
        (501, None, "501"),
    ],
)
def test_a_refusal_is_final_and_says_how_to_fix_it(
    service: Service, client: Client, code: int, field: str | None, said: str
) -> None:
    service.faults = [status(code, "the\nmodel\x1bsays\x07no" + "!" * 999)]
    with pytest.raises(BadAnswer, match=said) as refusal:
        posted(client, service)
    assert len(service.received) == 1
    assert refusal.value.field == field
    message = str(refusal.value)
    assert message.isprintable()
    assert len(message) < 400


def test_a_service_says_when_to_come_back_in_seconds_or_as_a_date(
    service: Service, client: Client, waits: list[float]
) -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    past = format_datetime(datetime.now(UTC) - timedelta(days=1), usegmt=True)
    service.faults = [
        status(429, Retry_After=when) for when in ("7", date, "86400", "Fri, 99 Parrot")
    ]
    posted(client, service)
    seconds, until_date, capped, unknown = pauses(waits)
    assert seconds == 7
    assert 30 < until_date <= 40
    assert capped == 300
    assert 13 <= unknown <= 27
    waits.clear()
    service.faults = [status(503, Retry_After=past)]
    posted(client, service)
    assert pauses(waits) == []


def test_a_failure_is_tried_again_once(service: Service, client: Client) -> None:
    service.faults = [status(500)]
    posted(client, service)
    service.faults = [status(500, "ValueError: shapes")] * 2
    with pytest.raises(
        BadAnswer, match=r"500 Internal Server Error \(2 tries\): ValueError: shapes"
    ):
        posted(client, service)
    assert len(service.received) == 4


def test_a_service_that_fails_on_most_of_the_first_requests_is_not_asked_any_more(
    service: Service, client: Client
) -> None:
    service.faults = [status(500), None, None, status(500), None, status(500)]
    for _ in range(3):
        posted(client, service)
    for _ in range(2):
        with pytest.raises(BadAnswer, match="3 of the first 5 requests and is not asked any more"):
            posted(client, service)
    assert len(service.received) == 6


def test_later_failures_stop_nothing(service: Service, client: Client) -> None:
    for _ in range(5):
        posted(client, service)
    service.faults = [status(500), None] * 4
    for _ in range(4):
        posted(client, service)


@pytest.mark.parametrize("fault", [serving.never_ending, lambda _: time.sleep(20)])
def test_an_answer_that_does_not_end_is_given_up(service: Service, fault: serving.Fault) -> None:
    service.faults = [fault] * 2
    client = open_client(service.address, Declaration(timeout=1), lambda _: None)
    began = time.monotonic()
    with pytest.raises(BadAnswer, match=r"not answered within 1 seconds.*timeout"):
        posted(client, service)
    client.close()
    # Both would take 20 seconds each.
    assert time.monotonic() - began < 15
    assert len(service.received) == 2


def test_an_enormous_answer_is_not_read_to_its_end(service: Service) -> None:
    service.faults = [serving.enormous]
    client = open_client(service.address, Declaration())
    with pytest.raises(BadAnswer, match="more than 52,428,800 bytes"):
        posted(client, service)
    client.close()


@pytest.mark.parametrize("target", ["http://203.0.113.1/elsewhere", "/invocations/"])
def test_a_redirect_is_named_and_not_followed(
    service: Service, client: Client, target: str
) -> None:
    service.faults = [status(307, Location=target)]
    with pytest.raises(BadAnswer, match=f"redirects to {target}; name that address"):
        posted(client, service)
    assert len(service.received) == 1


def test_a_service_that_is_not_there_is_named(client: Client, waits: list[float]) -> None:
    # Port 1 belongs to nobody.
    with pytest.raises(BadAnswer, match=r"^http://127\.0\.0\.1:1/invocations cannot be asked"):
        client.post("http://127.0.0.1:1/invocations", Body(b"{}"))
    assert len(pauses(waits)) == 4


TRACE = 'Traceback (most recent call last):\n  File "m.py", line 3\nValueError: "pixels" above 1\n'


@pytest.mark.parametrize(
    "text",
    [
        TRACE,
        TRACE.rstrip(),
        f"the model failed: {TRACE}and stopped",
        TRACE.replace("above", "below") + f"\nDuring this, another exception:\n\n{TRACE}",
        json.dumps({"error": f"the model failed: {TRACE}"}),
        json.dumps({"error": TRACE.rstrip(), "code": 13}, indent=2),
        json.dumps({"detail": [{"error": TRACE}]})[:-4],
    ],
)
def test_of_a_traceback_what_went_wrong_is_shown(service: Service, opened: Open, text: str) -> None:
    service.faults = [status(500, text), status(500, text)]
    with pytest.raises(NoAnswer, match=r'answers 500 .*tries\): ValueError: "pixels" above 1$'):
        checked_answers(opened("tf"), IMAGES)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ("<html>Sign in</html>", r"returns no JSON, or cut off .*: <html>Sign in"),
        ('{"predictions": [[0.1, 0.2', "returns no JSON, or cut off"),
        ("", "returns no JSON"),
        (f"{'[' * 600}1{']' * 600}", "lists nested too deeply"),
        ('{"predictions": [[], [], [], [], [], [], []]}', "rows without scores"),
        ('{"predictions": [[null, 0.5, 0.5]]}', "null, which stands for NaN"),
        ('{"predictions": [[0.5, null], [0.5]]}', "null, which stands for NaN"),
        ('{"predictions": [["a", 0.5, 0.5]]}', "something else where a number belongs"),
        ('{"predictions": [[0.5, 0.5], [1.0]]}', "rows of several lengths"),
        ('{"predictions": [[0.5, 0.5, 0.0]]}', "1 rows for 7 images"),
        ('{"predictions": 3}', r"an array of shape \(\)"),
        ('{"predictions": [0, 1, 2, 0, 1, 2, 0]}', r"shape \(7,\) instead of a row"),
        ('{"error": "sorry"}', "without predictions"),
        ('"sorry"', "without predictions"),
    ],
)
def test_what_are_no_scores_is_refused_in_one_line(
    service: Service, opened: Open, answer: str, said: str
) -> None:
    service.faults = [status(200, answer)]
    with pytest.raises(BadAnswer, match=said) as refusal:
        checked_answers(opened("tf"), IMAGES)
    assert "\n" not in str(refusal.value)
    assert len(service.received) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"outputs": []}, "the outputs none"),
        ({"outputs": [3]}, "no tensors"),
        ({"outputs": [{"name": "scores", "shape": [7, 3], "data": [1, 2]}]}, "2 numbers in"),
        ({"outputs": [{"name": "scores", "shape": "x", "data": [1, 2]}]}, "2 numbers in"),
        ({"outputs": [{"name": "scores", "data": [1, 2]}]}, "without shape"),
        ({"outputs": [{"name": "others", "shape": [1], "data": [1]}]}, "the outputs others"),
        ({"error": "sorry"}, "without outputs"),
    ],
)
def test_a_tensor_that_contradicts_itself_is_refused(
    service: Service, opened: Open, answer: object, said: str
) -> None:
    service.faults = [status(200, json.dumps(answer))]
    with pytest.raises(BadAnswer, match=said):
        checked_answers(opened("v2"), IMAGES)


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, 2, 3], [0, 1, 2, 0, 1, 2, -1], [0.5] * 7])
def test_labels_that_are_no_classes_are_refused(
    service: Service, opened: Open, labels: list[float]
) -> None:
    service.faults = [status(200, json.dumps(labels))]
    with pytest.raises(BadAnswer, match="labels that are not 0 to 2"):
        checked_answers(opened("tf", returned="labels"), IMAGES)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"inputs": [*METADATA["inputs"], {"name": "mask"}]}, "has the inputs pixels, mask"),
        ({"inputs": [{"name": "pixels", "datatype": "BYTES", "shape": [1]}]}, "takes BYTES"),
        ({"outputs": [{"name": "a"}, {"name": "b"}]}, "^output: .* the outputs a, b"),
        ({"inputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 784]}]}, "takes 2 axes"),
        ({"inputs": [{"name": "p", "datatype": "FP32", "shape": [-1, 9, 9, 3]}]}, "9x9x3"),
        ({"outputs": [{"name": "scores", "shape": [-1, 10]}]}, "^classes: .* 10 classes"),
        ({"inputs": [{"name": "p", "datatype": [], "shape": 3}], "versions": 3}, "takes \\[\\]"),
    ],
)
def test_metadata_that_do_not_fit_are_refused_before_an_image_is_sent(
    service: Service, opened: Open, change: dict[str, object], said: str
) -> None:
    service.metadata[PATHS["v2"]] = {**METADATA, **change}
    with pytest.raises(BadSettings, match=said):
        opened("v2")
    assert service.received == []


def test_a_model_that_is_not_there_is_named(service: Service, opened: Open) -> None:
    service.metadata.clear()
    with pytest.raises(BadAnswer, match=r"metadata of http.*/v2/models/net: .*404 Not Found"):
        opened("v2")


@pytest.mark.parametrize(
    "url", ["http://localhost:1", "https://localhost/v3/models/net", "http://"]
)
def test_an_address_of_no_known_protocol_is_refused(url: str) -> None:
    with pytest.raises(BadSettings, match=r"/v2/models/NAME.*TOML"):
        open_black_box(url, replace(DECLARED, scale="0..1"))


def test_a_rate_limit_is_shared_by_all_requests() -> None:
    now = 100.0
    limit = RateLimit(4, lambda: now)
    assert [limit.turn() for _ in range(4)] == [0, 0.25, 0.5, 0.75]
    now = 100.6
    assert limit.turn() == pytest.approx(0.4)
    now = 200.0
    assert limit.turn() == 0
    assert [RateLimit(None).turn() for _ in range(3)] == [0, 0, 0]


def test_requests_that_are_sent_again_keep_to_the_rate_limit(
    service: Service, waits: list[float]
) -> None:
    client = open_client(service.address, Declaration(per_second=0.1), waits.append)
    service.faults = [status(503, Retry_After="0")]
    posted(client, service)
    client.close()
    assert 9 < max(waits) <= 10


SECRET = "parrots-fly-at-noon"  # noqa: S105  # to be looked for


def test_a_secret_is_sent_and_stands_in_no_file_and_no_message(
    service: Service, tiny: Tiny, papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIRD_KEY", SECRET)
    command = tiny.audit(
        box=service.address + PATHS["mlflow"],
        scale="-1..1",
        header="Authorization: Bearer ${BIRD_KEY}",
        concurrency=2,
    )
    service.faults = [status(400, f"no parrots for Bearer {SECRET}")]
    refused = papagaio(*command)
    assert refused.code == 2
    assert "no parrots for Bearer ${BIRD_KEY}" in refused.complaint
    ended = papagaio(*command)
    assert ended.code == 0, ended.stderr
    assert {one.headers["Authorization"] for one in service.received} == {f"Bearer {SECRET}"}
    files = [path for path in tiny.out.rglob("*") if path.is_file()]
    for path in files:
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in ended.stdout + ended.stderr + refused.stderr
    assert "${BIRD_KEY}" in (tiny.out / "config.toml").read_text()
    # The same command, from the file that it left, sends nothing more.
    count = len(service.received)
    again = papagaio("audit", f"--config={tiny.out / 'config.toml'}")
    assert again.code == 0, again.stderr
    assert len(service.received) == count


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("Authorization: Bearer abc", r"Authorization looks like a secret.*'Authorization: \$"),
        ("x-api-key: abc", "x-api-key looks like a secret"),
        ("Ocp-Apim-Subscription-Key: abc", "looks like a secret"),
        ("X-Api-Key: ${NO_SUCH_BIRD}", "NO_SUCH_BIRD is not set"),
        ("X-Api-Key: ${TWO_LINES}", "TWO_LINES holds other characters"),
        ("abc", "write a header as NAME: VALUE"),
        ("A: b\r\nC: d", "write a header as NAME: VALUE"),
        ("A: b\rC: d", "write a header as NAME: VALUE"),
        ("A: caf\u00e9", "write a header as NAME: VALUE"),
    ],
)
def test_a_header_that_cannot_be_sent_or_kept_is_refused(
    service: Service, monkeypatch: pytest.MonkeyPatch, header: str, said: str
) -> None:
    monkeypatch.setenv("TWO_LINES", "a\nb")
    with pytest.raises(BadSettings, match=said) as refusal:
        open_client(service.address, Declaration(headers=(header,)))
    assert refusal.value.field == "headers"
    assert "abc" not in str(refusal.value)


def test_a_plain_header_is_sent_as_it_is(service: Service) -> None:
    client = open_client(service.address, Declaration(headers=("X-Team: birds", "X-Empty:")))
    posted(client, service)
    client.close()
    (request,) = service.received
    assert (request.headers["X-Team"], request.headers["X-Empty"]) == ("birds", "")


def test_a_password_in_an_address_is_refused() -> None:
    with pytest.raises(BadSettings, match=r"^headers: the address holds a password") as refusal:
        open_black_box("http://me:birds@localhost/invocations", replace(DECLARED, scale="0..1"))
    assert "birds" not in str(refusal.value)


def test_a_secret_in_a_query_is_refused_unless_it_is_a_variable(
    monkeypatch: pytest.MonkeyPatch, described: Described
) -> None:
    text = JSON.replace(":predict", ":predict?version=3&api_key=VALUE")
    with pytest.raises(BadSettings, match=r"api_key looks like a secret.*'api_key=") as refusal:
        described(text.replace("VALUE", "birds"))
    assert "birds" not in str(refusal.value)
    monkeypatch.setenv("BIRD_KEY", SECRET)
    box = described(text.replace("VALUE", "${BIRD_KEY}"))
    # The service of these tests knows no such path.
    with pytest.raises(BadAnswer, match=r"api_key=\$\{BIRD_KEY\} answers 404") as refused:
        checked_answers(box, IMAGES)
    assert SECRET not in box.identity + box.name + str(refused.value)


def test_an_audit_pays_for_no_image_that_a_check_has_paid_for(
    service: Service, tiny: Tiny, papagaio: Papagaio
) -> None:
    images = np.random.default_rng(5).integers(0, 256, (120, 8, 8, 1), np.uint8)
    np.savez(tiny.folder / "test.npz", images=images, labels=truth(images).argmax(1))
    written = tiny.folder / "box.toml"
    check = (
        *("check", service.address + PATHS["tf"], "--input=8x8x1", "--classes=3", "--scale=-1..1"),
        *("--test=test.npz", "--concurrency=3", f"--write={written}", "--limit=120"),
        "--header=X-Team: birds",
    )
    # Of 120 queries, 20 repeat others; a second check repeats as many, and sends no others.
    for total, sent, known in ((120, 120, 0), (140, 20, 100)):
        checked = papagaio(*check)
        assert checked.code == 0, checked.stderr
        assert "accuracy\t100 %" in checked.stdout
        assert f"sent\t{sent} images, 20 of them again\nknown before\t{known}" in checked.stdout
        assert service.images == total
    count = len(service.received)
    left_out = dict.fromkeys(("box", "input", "classes", "out"))
    ended = papagaio(*tiny.audit(config=written, unchecked=None, **left_out))
    assert ended.code == 0, ended.stderr
    result = json.loads(Path("runs/audit/result.json").read_text())
    # Two for the rest of the test set, and two for the transfer set.
    assert (result["queries"]["canaries"], result["queries"]["total"]) == (4, 132 + 4)
    # And what two checks repeated.
    assert result["queries"]["ledger"] == 132 + 4 + 2 * 20
    assert result["queries"]["interrupted"] == 0
    assert result["settings"]["concurrency"] == 3
    sent_last = service.received[count:]
    assert sum(one.images for one in sent_last) == 132 - 100 + 4  # canaries
    assert {one.headers["X-Team"] for one in sent_last} == {"birds"}


def test_a_check_that_a_service_ends_keeps_what_was_paid(
    service: Service, tiny: Tiny, papagaio: Papagaio
) -> None:
    images = np.random.default_rng(5).integers(0, 256, (120, 8, 8, 1), np.uint8)
    np.savez(tiny.folder / "test.npz", images=images, labels=truth(images).argmax(1))
    check = (
        *("check", service.address + PATHS["tf"], "--input=8x8x1", "--classes=3", "--scale=-1..1"),
        *(f"--test={tiny.folder / 'test.npz'}", "--limit=120", f"--ledger={tiny.ledger}"),
    )
    service.faults = [*[None] * 4, status(400, "no")]
    ended = papagaio(*check)
    assert (ended.code, "answers already paid for are kept" in ended.complaint) == (2, True)
    assert service.images == 50
    ended = papagaio(*check)
    assert ended.code == 0, ended.stderr
    assert "known before\t40 answers" in ended.stdout
    assert service.images == 50 + 60 + 20
    with Ledger(tiny.ledger) as ledger:
        (totals,) = ledger.totals()
    assert (totals.answers, totals.canaries, totals.interrupted) == (100, 20, 10)


@pytest.mark.parametrize("command", ["audit", "check"])
def test_another_machine_is_asked_only_if_somebody_allows_it(
    command: str, tiny: Tiny, papagaio: Papagaio
) -> None:
    url = "http://203.0.113.1/invocations"
    options = ["--input=8x8x1", "--classes=3", "--scale=0..1", f"--test={tiny.folder / 'test.npz'}"]
    more = ["--transfer=letters", "--budget=3"] if command == "audit" else []
    ended = papagaio(command, url, *options, *more)
    assert ended.code == 2
    assert ended.complaint == (
        "papagaio: --authorised-by: 203.0.113.1 is another machine; "
        "name who allows that it is asked"
    )


def test_this_machine_needs_nobodys_permission() -> None:
    for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]"):
        open_client(f"http://{host}:1/invocations", Declaration()).close()
    for host in ("203.0.113.1", "localhost.example", "[2001:db8::1]", "128.0.0.1"):
        with pytest.raises(BadSettings, match=r"authorised-by: .* another machine"):
            open_client(f"http://{host}/invocations", Declaration(authorised_by=" "))
        open_client(f"http://{host}/invocations", Declaration(authorised_by="me, 1")).close()


def test_this_machine_is_not_asked_through_a_proxy(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nobody listens there.
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "")
    client = open_client(service.address, Declaration())
    assert b"predictions" in posted(client, service)
    client.close()


def test_weights_are_refused_beside_a_service(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"weights .*: http.* brings its own weights"):
        open_black_box("http://localhost/invocations", weights=tmp_path / "weights")


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "httpx2.py").write_text("raise ModuleNotFoundError(name='httpx2')")
    code = (
        "from papagaio.blackboxes.named import open_black_box\n"
        "open_black_box('http://localhost/invocations')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.stderr.endswith("needs httpx2: pip install '.[http]' in Papagaio's checkout\n"), (
        done.stderr
    )


@pytest.fixture
def described(service: Service, tmp_path: Path) -> Iterator[Described]:
    """Opens a black box from the text of a file, and closes it at the end."""
    boxes: list[BlackBox] = []

    def of(text: str, **more: Any) -> BlackBox:  # noqa: ANN401  # fields of a declaration
        file = tmp_path / "endpoint.toml"
        file.write_text(text.replace("HOST", service.address))
        boxes.append(open_black_box(str(file), replace(DECLARED, **more)))
        return boxes[-1]

    yield of
    for box in boxes:
        box.close()


ENDPOINTS = {
    "json": """
        url = "HOST/v1/models/net:predict"
        image = "json"
        body = '{"signature_name": "serving_default", "instances": "$images"}'
        scores = "predictions"
        scale = "-1..1"
    """,
    "base64": """
        url = "HOST/base64"
        image = "base64-png"
        body = '{"model": "net", "pictures": "$images"}'
        scores = "result.rows"
    """,
    "png": """
        url = "HOST/png"
        image = "png"
        scores = "scores"
    """,
    "multipart": """
        url = "HOST/form"
        image = "multipart"
        field = "photo"
        scores = "scores"
    """,
}
PAIRS = """
    url = "HOST/url"
    image = "base64-png"
    body = '{"content": [{"url": "data:image/png;base64,$image"}]}'
    scores = "[].{label: name, score: probability}"
    labels = ["a", "b", "c"]
    headers = {X-Api-Key = "${BIRD_KEY}"}
"""


@pytest.mark.parametrize("form", [PixelForm("imagenet"), PixelForm("0..1"), PixelForm(dtype="u1")])
def test_pixels_in_json_are_those_of_the_form(form: PixelForm) -> None:
    pixels = form.of(IMAGES)
    for array in (pixels, pixels.ravel(), pixels[:1]):
        text = json_of(array)
        assert np.shape(json.loads(text)) == array.shape
        assert np.array(json.loads(text), array.dtype).tobytes() == array.tobytes()
        assert len(text) < len(json.dumps(array.tolist()))


def test_one_image_may_stand_in_a_request_as_lists(described: Described) -> None:
    box = described(JSON.replace('"$images"', '["$image"]'))
    assert box.contract.batch == 1
    np.testing.assert_allclose(checked_answers(box, IMAGES[:1]), truth(IMAGES[:1]), atol=1e-6)


@pytest.mark.parametrize("name", ENDPOINTS)
def test_a_described_service_gives_the_answers_of_the_model(
    name: str, tmp_path: Path, described: Described
) -> None:
    box = described(ENDPOINTS[name], concurrency=2)
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        answers = ask(box, ImageSet.of("random", IMAGES), ledger)
    np.testing.assert_allclose(answers, truth(IMAGES), atol=1e-6)
    assert box.contract.batch == (1 if name in ("png", "multipart") else 16)


def test_grey_images_are_sent_as_grey_files(described: Described) -> None:
    box = described(ENDPOINTS["png"], shape=(2, 4, 1))
    grey = IMAGES[:1, ..., :1]
    np.testing.assert_allclose(checked_answers(box, grey), truth(grey), atol=1e-6)


def test_pairs_of_label_and_score_become_the_largest_scores(
    service: Service, monkeypatch: pytest.MonkeyPatch, described: Described
) -> None:
    monkeypatch.setenv("BIRD_KEY", SECRET)
    box = described(PAIRS, classes=None, response="top-3")
    (answer,) = checked_answers(box, IMAGES[:1])
    (scores,) = truth(IMAGES[:1])
    shown = np.where(scores == scores.min(), 0, scores)
    np.testing.assert_allclose(answer, shown, atol=1e-6)
    assert service.received[0].headers["X-Api-Key"] == SECRET
    assert box.contract.class_names == ("a", "b", "c")
    assert SECRET not in box.identity


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ([{"name": "d", "probability": 1}], "the label d, which is not described"),
        ({"error": "sorry"}, "nothing at"),
        ([{"name": "d\n\x1b" * 999, "probability": 1}], "the label d d d"),
        ([{"name": "a"}], "null, which stands for NaN"),
        ([], r"0 rows for 1 images"),
    ],
)
def test_pairs_that_do_not_fit_are_refused(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    answer: object,
    said: str,
    described: Described,
) -> None:
    monkeypatch.setenv("BIRD_KEY", SECRET)
    box = described(PAIRS, response="top-3")
    service.faults = [status(200, json.dumps(answer))]
    with pytest.raises(BadAnswer, match=said) as refusal:
        checked_answers(box, IMAGES[:1])
    assert str(refusal.value).isprintable()
    assert len(str(refusal.value)) < 600


@pytest.mark.parametrize("answer", ['"c"', '["c"]', '[["c"]]', "2", "[2.0]"])
def test_a_service_may_name_the_class_only(
    service: Service, answer: str, described: Described
) -> None:
    text = ENDPOINTS["png"].replace('"scores"', '"@"') + 'labels = ["a", "b", "c"]'
    box = described(text, returned="labels")
    service.faults = [status(200, answer), status(200, '"d"')]
    assert checked_answers(box, IMAGES[:1]).tolist() == [[0, 0, 1]]
    with pytest.raises(BadAnswer, match='something else where a number belongs: "d"'):
        checked_answers(box, IMAGES[:1])


JSON = ENDPOINTS["json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (JSON + "flavour = 3", "flavour 3: no such option"),
        (JSON + 'method = "GET"', "method GET: should be 'POST'"),
        (JSON.replace('"json"', '"jpeg"'), "image jpeg: should be"),
        (JSON.replace("url =", "labels = []\n# url ="), "url: is required"),
        (JSON.replace("$images", "images"), 'body needs the string "\\$images"'),
        (JSON.replace("}'", "'"), "body .*: no JSON"),
        (JSON.replace('"predictions"', '"[[["'), "scores .*: no JMESPath expression"),
        (JSON.replace("-1..1", "-1..2"), "scale -1..2: neither"),
        (JSON.replace('scale = "-1..1"', ""), "^scale: .* on which scale"),
        (JSON + 'dtype = "uint8"', "^scale -1..1: .* gives bytes"),
        (JSON + 'labels = ["a", "b"]', "^classes: .* has 2 labels"),
        (JSON + 'labels = ["a", "a", "b"]', "labels .*: a class stands there twice"),
        (ENDPOINTS["multipart"].replace("photo", "a;b"), "field a;b: "),
        (JSON + 'field = "photo"', "field is for image multipart"),
        (ENDPOINTS["png"] + 'body = "{}"', "image png has no body"),
        (ENDPOINTS["png"] + 'scale = "0..1"', "scale: only for image json"),
        (ENDPOINTS["base64"].replace("body", "# body"), "image base64-png needs body"),
        (PAIRS, "BIRD_KEY is not set"),
        (JSON.replace("HOST", "http://203.0.113.1"), "^authorised-by: .* another machine"),
        (JSON.replace("HOST", "ftp://localhost"), "is no address of a service"),
        ("url", "not a readable TOML file"),
    ],
)
def test_a_mistake_in_a_description_is_one_line(
    service: Service, text: str, said: str, described: Described
) -> None:
    with pytest.raises(BadSettings, match=said) as refusal:
        described(text)
    assert "\n" not in str(refusal.value)
    assert service.received == []


def test_a_missing_description_is_named() -> None:
    with pytest.raises(BadSettings, match=r"nowhere\.toml: not a readable TOML file"):
        open_black_box("nowhere.toml", DECLARED)


def test_what_decides_an_answer_decides_the_identity_and_headers_do_not(
    described: Described,
) -> None:
    def identity(text: str) -> str:
        box = described(text)
        return box.identity

    plain = identity(JSON)
    assert identity(JSON + 'headers = {X-Team = "birds"}') == plain
    others = {identity(JSON.replace("-1..1", "0..1")), identity(JSON + 'colour-order = "bgr"')}
    assert len({plain, *others}) == 3
