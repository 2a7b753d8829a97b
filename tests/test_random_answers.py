"""Whatever a service answers, and whatever describes it: scores, or one of two errors."""

import json
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from papagaio.blackboxes.contract import Declaration
from papagaio.blackboxes.described import open_described
from papagaio.blackboxes.description import Description
from papagaio.blackboxes.protocols import protocol_of
from papagaio.blackboxes.replies import parsed
from papagaio.blackboxes.sending import Body, Client
from papagaio.blackboxes.service import HttpBox, _box_of
from papagaio.errors import BadAnswer, BadSettings
from papagaio.options import validated

IMAGES = np.zeros((2, 2, 2, 1), np.uint8)
DECLARED = Declaration((2, 2, 1), classes=2, scale="0..1")
URL = "http://localhost:1"

ANY = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NUMBERS = st.sampled_from([0, 1, 0.5, -1, 2, 10**400, float("nan"), float("inf"), True, None, "a"])
KEYS = st.sampled_from(["outputs", "predictions", "name", "shape", "data", "label", "score"])


VALUES = st.recursive(
    ANY | NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)
ROWS = st.lists(st.lists(NUMBERS, max_size=3) | NUMBERS, max_size=3)
TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["scores", 3, None]),
        "shape": st.sampled_from([[2, 2], [2], [-1, 2], [2, 10**30], "x", None]) | VALUES,
        "data": ROWS | VALUES,
        "datatype": st.sampled_from(["FP32", "INT8", [], {}]),
    },
)
ANSWERS = (
    VALUES
    | ROWS
    | st.fixed_dictionaries({"predictions": ROWS | VALUES})
    | st.fixed_dictionaries({"outputs": st.lists(TENSOR, max_size=2) | VALUES})
)
METADATA = VALUES | st.fixed_dictionaries(
    {},
    optional={
        name: st.lists(TENSOR, max_size=2) | VALUES for name in ("inputs", "outputs", "versions")
    },
)
DESCRIBED = {"image": "json", "body": '"$images"', "url": f"{URL}/any", "scale": "0..1"}


@dataclass(frozen=True)
class Answering:
    """In the place of a client: answers always the same."""

    content: bytes

    def get(self, _: str) -> bytes:
        return self.content

    def post(self, _: str, __: Body) -> bytes:
        return self.content

    def shown(self, _: str, content: bytes) -> str:
        return content.decode(errors="replace")


def always(value: object) -> Client:
    return cast("Client", Answering(json.dumps(value).encode()))


def box_of(path: str, metadata: object, **more: Any) -> HttpBox:  # noqa: ANN401  # of a declaration
    url, stated, client = URL + path, replace(DECLARED, **more), always(metadata)
    return _box_of(url, protocol_of(url).describe(url, client, stated), client, stated)


def is_answered_or_refused(box: HttpBox, value: object) -> None:
    with suppress(BadAnswer):
        scores = replace(box, client=always(value)).answer(IMAGES)
        assert scores.shape[0] == len(IMAGES)
        assert scores.dtype == np.float32


@pytest.mark.parametrize("path", ["/v1/models/m:predict", "/v2/models/m"])
@pytest.mark.parametrize("returned", ["probabilities", "logits", "labels"])
@settings(max_examples=50, deadline=None)
@given(value=ANSWERS, output=st.none() | st.just("scores"))
def test_any_answer_is_scores_or_refused(
    path: str, returned: str, value: object, output: str | None
) -> None:
    is_answered_or_refused(box_of(path, {}, returned=returned, output=output), value)


@settings(max_examples=100, deadline=None)
@given(metadata=METADATA)
def test_any_metadata_are_a_contract_or_refused(metadata: object) -> None:
    with suppress(BadAnswer, BadSettings):
        contract = box_of("/v2/models/m", metadata, shape=None, classes=None).contract
        assert all(size > 0 for size in (*contract.shape, contract.classes, contract.batch))


@pytest.fixture(scope="module", params=["@", "predictions", "[].{label: name, score: score}"])
def described(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> HttpBox:
    file = tmp_path_factory.mktemp("described") / "endpoint.toml"
    keys = {**DESCRIBED, "scores": request.param}
    lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
    file.write_text("\n".join([*lines, 'labels = ["a", "b"]']))
    return open_described(str(file), Declaration((2, 2, 1)))


@settings(max_examples=50, deadline=None)
@given(value=ANSWERS)
def test_any_answer_to_a_described_service_is_scores_or_refused(
    described: HttpBox, value: object
) -> None:
    is_answered_or_refused(described, value)


@settings(max_examples=100, deadline=None)
@given(keys=st.dictionaries(st.sampled_from([*Description.model_fields, "x"]), VALUES))
def test_any_description_is_taken_or_refused(keys: dict[str, object]) -> None:
    with suppress(BadSettings):
        described = validated(Description, {**DESCRIBED, **keys}, str)
        assert len(described.digest) == 16


@given(content=st.binary())
def test_any_bytes_are_json_or_refused(content: bytes) -> None:
    with suppress(BadAnswer):
        parsed(content)
