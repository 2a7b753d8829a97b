"""The machine: which device, which precision and how many threads, and why."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
import torch
from torch import nn

from papagaio.errors import BadSettings
from papagaio.training import machine as module
from papagaio.training.machine import (
    Machine,
    Precision,
    choose_device,
    cores,
    faster_precision,
    processor,
)


@pytest.fixture
def threads_restored() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_auto_is_a_device_that_torch_can_use_and_says_why() -> None:
    device, reason = choose_device("auto")
    assert (torch.ones(3, device=device).sum() * 2).item() == 6
    assert reason
    assert torch.cuda.is_available() <= (device == "cuda")


def test_without_a_gpu_auto_is_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == ("cpu", "no GPU that torch can use")


def test_a_device_that_was_asked_for_is_taken_at_the_users_word() -> None:
    assert choose_device("cpu") == ("cpu", "asked for")


@pytest.mark.parametrize("wanted", ["parrot", "", "cpu:x", "cuda:99", "vulkan"])
def test_a_device_that_is_not_there_is_refused_with_the_way_out(wanted: str) -> None:
    with pytest.raises(BadSettings, match=r"not usable here .*; say --device \w+") as caught:
        choose_device(wanted)
    assert str(caught.value).startswith(f"device {wanted}: ")
    assert "\n" not in str(caught.value)


def test_a_device_that_computes_nothing_is_refused() -> None:
    with pytest.raises(BadSettings, match="not usable here"):
        choose_device("meta")


@pytest.mark.usefixtures("threads_restored")
@pytest.mark.parametrize("threads", [2, 1])
def test_use_sets_the_threads_and_gives_the_device(threads: int) -> None:
    assert Machine("cpu", threads=threads).use() == torch.device("cpu")
    assert torch.get_num_threads() == threads


@pytest.mark.usefixtures("threads_restored")
def test_use_makes_arithmetic_on_a_gpu_repeatable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", True)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", False)
    Machine().use()
    assert (torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic) == (False, True)


@pytest.mark.parametrize(
    ("precision", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
@pytest.mark.parametrize("layer", [nn.Conv2d(1, 2, 3), nn.Linear(4, 2)])
def test_convolutions_and_products_run_in_the_chosen_precision(
    precision: Precision, expected: torch.dtype, layer: nn.Module
) -> None:
    with Machine("cpu", precision).autocast():
        assert layer(torch.zeros(1, 1, 4, 4)).dtype == expected
    assert layer(torch.zeros(1, 1, 4, 4)).dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in layer.parameters())


@dataclass
class Steps:
    """Steps that move a clock on by so many seconds; the first of a precision takes a minute."""

    seconds: dict[Precision, list[float]]
    now: float = 0.0
    taken: list[Machine] = field(default_factory=list)

    def perf_counter(self) -> float:
        return self.now

    def __call__(self, machine: Machine) -> None:
        before = self.taken.count(machine)
        self.taken.append(machine)
        times = self.seconds[machine.precision]
        self.now += times[(before - 1) % len(times)] if before else 60.0


@pytest.mark.parametrize(
    ("float32", "bfloat16", "expected", "share"),
    [
        ([0.3], [0.1], "bfloat16", "0.33"),
        ([0.1], [0.3], "float32", "3.00"),
        ([0.2], [0.2], "float32", "1.00"),
        # Faster, and not by the tenth that is asked for.
        ([0.108], [0.1], "float32", "0.93"),
        ([0.112], [0.1], "bfloat16", "0.89"),
        # Something else ran meanwhile: the least of three counts.
        ([0.2, 0.2, 0.2], [0.9, 0.9, 0.1], "bfloat16", "0.50"),
    ],
)
def test_the_precision_is_the_one_that_was_measured_faster(
    monkeypatch: pytest.MonkeyPatch,
    float32: list[float],
    bfloat16: list[float],
    expected: Precision,
    share: str,
) -> None:
    steps = Steps({"float32": float32, "bfloat16": bfloat16})
    monkeypatch.setattr(module, "time", steps)
    assert faster_precision(steps, Machine(threads=3)) == (
        expected,
        f"a step in bfloat16 takes {share} of one in float32",
    )
    assert {(m.device, m.threads) for m in steps.taken} == {("cpu", 3)}


@pytest.mark.parametrize(("slow", "expected"), [("float32", "bfloat16"), ("bfloat16", "float32")])
def test_precision_is_measured_by_the_real_clock(slow: Precision, expected: Precision) -> None:
    def step(machine: Machine) -> None:
        time.sleep(0.03 if machine.precision == slow else 0.002)

    assert faster_precision(step, Machine())[0] == expected


def test_the_processor_has_a_name_and_cores() -> None:
    assert cores() >= 1
    assert processor() == processor().strip() != ""
