"""Services that answer badly in the middle of an audit: one line, and what was paid for is kept."""

import json
from collections.abc import Iterator

import pytest
import serving
from conftest import Ended, Papagaio, Tiny
from serving import Fault, Service, status

from papagaio.ledger import Ledger

PATH = "/invocations"
HTML = "<html><head><title>Sign in</title></head></html>"
HALF = '{"predictions": [[0.5, 0.5, 0.0], [0.1'
NULL = json.dumps({"predictions": [[None, 0.5, 0.5]] * 4})
SHORT = json.dumps({"predictions": [[0.5, 0.25, 0.25]] * 3})


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait before a request is sent again."""
    monkeypatch.setattr("papagaio.blackboxes.sending.pause", lambda *_: 0.0)


@pytest.fixture
def service() -> Iterator[Service]:
    answers = {PATH: serving.instances("inputs")}
    with serving.serving(Service(answers)) as running:
        yield running


def answers_in(tiny: Tiny) -> int:
    with Ledger(tiny.ledger) as opened:
        assert list(opened.problems()) == []
        return sum(row.answers for row in opened.totals())


def audit_of(address: str, tiny: Tiny, **more: object) -> list[str]:
    return tiny.audit(box=address, scale="-1..1", **more)


def ended_with(ended: Ended, code: int, *words: str) -> None:
    assert ended.code == code, ended.stderr
    for word in words:
        assert word in ended.complaint


# A fault, how often the request is sent, the exit code, and what is said.
FAULTS = [
    (status(401, "who?"), 1, 2, "--headers: URL answers 401 Unauthorized: who?; give the key"),
    (
        status(403),
        1,
        2,
        "--headers: URL answers 403 Forbidden: nothing; give a key that is allowed",
    ),
    (status(404), 1, 2, "URL answers 404 Not Found: nothing; check the address and the name"),
    (status(413), 1, 2, "--batch: URL answers 413 "),
    (status(429), 5, 2, "--per-second: URL answers 429 Too Many Requests (5 tries): "),
    (status(429, Retry_After="1"), 5, 2, "429 Too Many Requests (5 tries): nothing; send fewer"),
    (
        status(500, "ValueError"),
        2,
        1,
        "URL answers 500 Internal Server Error (2 tries): ValueError",
    ),
    (status(503), 5, 1, "URL answers 503 Service Unavailable (5 tries): nothing"),
    (status(200, HTML), 1, 2, "URL returns no JSON, or cut off"),
    (status(200, HALF), 1, 2, "URL returns no JSON, or cut off"),
    (status(200, NULL), 1, 2, "URL returns null, which stands for NaN in JSON,"),
    (status(200, SHORT), 1, 2, "URL returns 3 rows for 4 images"),
    (serving.cut_off, 5, 1, "URL cannot be asked (RemoteProtocolError: "),
    (serving.reset, 5, 1, "URL cannot be asked (ReadError: "),
    (serving.never_ending, 2, 1, "URL has not answered within 1 seconds (2 tries); allow more"),
    (serving.enormous, 1, 1, "URL answers more than 52,428,800 bytes"),
    (status(307, Location="http://203.0.113.1/x"), 1, 2, "redirects to http://203.0.113.1/x; "),
]


@pytest.mark.parametrize(("fault", "tries", "code", "said"), FAULTS)
def test_a_bad_answer_ends_an_audit_in_one_line_and_loses_nothing(  # noqa: PLR0917  # fixtures
    fault: Fault,
    tries: int,
    code: int,
    said: str,
    service: Service,
    tiny: Tiny,
    papagaio: Papagaio,
) -> None:
    url = service.address + PATH
    # Of the 9 test images, 4 are answered.
    service.faults = [None, *[fault] * 99]
    ended = papagaio(*audit_of(url, tiny, timeout=1))
    ended_with(ended, code, said.replace("URL", url), "answers already paid for are kept")
    assert len(service.received) == 1 + tries
    assert answers_in(tiny) == 4


def test_the_same_command_goes_on_after_a_bad_answer(
    service: Service, tiny: Tiny, papagaio: Papagaio
) -> None:
    command = audit_of(service.address + PATH, tiny)
    service.faults = [None, None, None, status(200, HALF)]
    ended_with(papagaio(*command), 2, "cut off")
    assert service.images == 9 + 4
    again = papagaio(*command)
    assert again.code == 0, again.stderr
    # The transfer images, and two known ones among them.
    assert service.images == 9 + 4 + 12 + 2
    assert answers_in(tiny) == 9 + 12


@pytest.mark.parametrize("concurrency", [1, 3])
def test_a_service_that_always_fails_is_asked_a_few_times_only(
    service: Service, tiny: Tiny, papagaio: Papagaio, concurrency: int
) -> None:
    service.faults = [status(500, "ValueError: pixels above 1")] * 99
    ended = papagaio(*audit_of(service.address + PATH, tiny, concurrency=concurrency))
    # Of requests in flight together, the last to fail chooses the words.
    ended_with(ended, 1, "500")
    assert "answers 500" in ended.complaint or "failed (500) on 3 of the first" in ended.complaint
    # Nothing was paid for.
    assert "kept" not in ended.complaint
    assert len(service.received) <= 2 * concurrency
    assert answers_in(tiny) == 0


@pytest.mark.parametrize("label", [3, -1, 0.5, "parrot"])
def test_a_label_that_is_no_class_ends_an_audit_in_one_line(
    service: Service, tiny: Tiny, papagaio: Papagaio, label: object
) -> None:
    service.faults = [status(200, json.dumps([label] * 4))]
    ended = papagaio(*audit_of(service.address + PATH, tiny, returns="labels"))
    ended_with(ended, 2, "labels that are not 0 to 2" if label != "parrot" else "something else")
    assert answers_in(tiny) == 0


def test_a_host_that_is_not_found_is_one_line(tiny: Tiny, papagaio: Papagaio) -> None:
    command = audit_of("http://parrots.invalid/invocations", tiny, authorised_by="me")
    ended = papagaio(*command)
    ended_with(ended, 2, "http://parrots.invalid/invocations is on a host that is not found")
    assert "check the address" in ended.complaint
