"""The precision in which a network trains faster on this machine: measured once, then cached."""

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from papagaio import files
from papagaio.cache import cache_folder
from papagaio.errors import NoSpace
from papagaio.hardware import processor
from papagaio.training.machine import Machine
from papagaio.training.optimisers import optimisers_for
from papagaio.training.products import placed
from papagaio.training.recipe import Recipe
from papagaio.training.step import Batch, training_step
from papagaio.vocabulary import PRECISIONS, Precision

__all__ = ["settled_precision"]

_RECIPE = Recipe("precision measurement", batch=64)
# Turns of both precisions; the first ones pay for set-up and do not count.
_TURNS, _WARM = 7, 2
# A difference by this factor needs no more turns: emulated bfloat16 is many times slower.
_CLEAR = 3.0


def settled_precision(
    name: str, build: Callable[[], nn.Module], shape: tuple[int, int, int], machine: Machine
) -> tuple[Machine, str]:
    """Return the machine in the precision in which a network trains faster on it, and why.

    CPUs without bfloat16 instructions emulate it many times slower, and networks of depthwise
    convolutions are slower in it even where they exist, so the choice is measured. It decides
    a result's last digits, so it is measured once per machine and network, and then read from the
    user's cache.

    Args:
        name: the name of the network, part of the cache's key.
        build: makes a network to measure with.
        shape: height, width and channels of the images.
        machine: where it will train.
    """
    measured_on = {
        "processor": processor(),
        "device": machine.device,
        "gpu": torch.cuda.get_device_name(machine.device) if _is_cuda(machine) else "",
        "torch": torch.__version__,
        "network": name,
        "shape": list(shape),
    }
    key = hashlib.sha256(json.dumps(measured_on).encode()).hexdigest()[:16]
    path = cache_folder() / "precision" / f"{key}.json"
    share = _cached_share(path.read_text(encoding="utf-8")) if path.is_file() else None
    if share is None:
        share = _measured_share(build(), shape, machine)
        # A folder that cannot be written costs the next run a new measurement, nothing else.
        with suppress(OSError, NoSpace):
            files.write(path, json.dumps(measured_on | {"share": share}, indent=1))
    # A tenth faster at least: float32 is the safer choice.
    precision: Precision = "bfloat16" if share < 0.9 else "float32"
    clock = "processor time" if machine.device == "cpu" else "time"
    reason = f"measured once on this machine: a step in bfloat16 takes {share:.2f} of the {clock} "
    return replace(machine, precision=precision), f"{reason}of one in float32"


def _cached_share(text: str) -> float | None:
    try:
        return float(json.loads(text)["share"])
    except (ValueError, KeyError, TypeError):
        return None


def _measured_share(network: nn.Module, shape: tuple[int, int, int], machine: Machine) -> float:
    """The time of a training step in bfloat16, divided by that in float32.

    The least of several times counts, and precisions take turns. On a CPU it is the processor time
    of one thread: other processes change the elapsed time, but not this.
    """
    machine = replace(machine, threads=1)
    threads = torch.get_num_threads()
    try:
        return round(_share_of_times(_step_to_measure(network, shape, machine), machine), 4)
    finally:
        # A black box in this process is asked next.
        torch.set_num_threads(threads)


def _share_of_times(step: Callable[[Machine], Tensor], machine: Machine) -> float:
    times: dict[Precision, list[float]] = {precision: [] for precision in PRECISIONS}
    share = 1.0
    for turn in range(_TURNS):
        for precision in PRECISIONS:
            times[precision].append(_time_of(step, replace(machine, precision=precision)))
        if turn >= _WARM:
            share = min(times["bfloat16"][_WARM:]) / min(times["float32"][_WARM:])
            if not 1 / _CLEAR < share < _CLEAR:
                break
    return share


def _step_to_measure(
    network: nn.Module, shape: tuple[int, int, int], machine: Machine
) -> Callable[[Machine], Tensor]:
    device = machine.use()
    placed(network, device).train()
    noise = np.random.default_rng(0).integers(0, 256, (_RECIPE.batch, *shape), np.uint8)
    images = torch.from_numpy(noise).to(device).permute(0, 3, 1, 2)
    with torch.no_grad():
        targets = torch.full_like(network(images), 0.1, dtype=torch.float32)
    batch, optimisers = Batch(images, targets), optimisers_for(network, _RECIPE)
    return lambda tried: training_step(network, optimisers, batch, _RECIPE, tried)[0]


def _time_of(step: Callable[[Machine], Tensor], machine: Machine) -> float:
    """How long a step takes: processor time on a CPU, device time on CUDA, else elapsed time."""
    if _is_cuda(machine):
        start, end = (_cuda_event() for _ in range(2))
        start.record()
        step(machine)
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end))
    clock = time.process_time if machine.device == "cpu" else time.perf_counter
    begun = clock()
    # Reading the loss waits until the device has taken the step.
    step(machine).item()
    return clock() - begun


def _is_cuda(machine: Machine) -> bool:
    return torch.device(machine.device).type == "cuda"


def _cuda_event() -> Any:  # noqa: ANN401  # torch does not declare its events' methods
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
