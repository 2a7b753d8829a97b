"""Compare the speed of the training engine with a plain loop, with Keras and with two floors.

    python benchmarks/engine.py [--keras PYTHON] [--rounds 5] [--images 640] [--threads 2]

Both of the thesis's architectures at 32 pixels, batch 32, Adam, all weights trained. In every round
each engine trains on the same number of images. Medians over rounds are compared, because the load
of the machine changes from round to round. PYTHON is an interpreter with Keras and TensorFlow, in
an environment of its own; without it, Keras is left out.

The floors are the time that the convolutions and dense layers take alone, forward and backward, one
after the other, each in its faster precision; and the operations of a step divided by the rate of a
large matrix product.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import IO, cast

import numpy as np
import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from papagaio.hardware import cores, processor
from papagaio.networks.classifier import IMAGENET, Classifier
from papagaio.networks.headed import Architecture, build_headed
from papagaio.responses import Answers
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.precision import settled_precision
from papagaio.training.recipe import Recipe

BATCH, SHAPE, CLASSES = 32, (32, 32, 3), 10
BODIES = ("torchvision/vgg16", "torchvision/mobilenet_v2")

KERAS = """
import json, sys, time
import numpy as np, keras, tensorflow
name, images, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tensorflow.config.threading.set_intra_op_parallelism_threads(threads)
tensorflow.config.threading.set_inter_op_parallelism_threads(threads)
random = np.random.default_rng(0)
x = random.integers(0, 256, (images, 32, 32, 3)).astype("float32") / 127.5 - 1
y = random.dirichlet(np.ones(10), images).astype("float32")
make = {"vgg16": keras.applications.VGG16, "mobilenet_v2": keras.applications.MobileNetV2}[name]
body = make(include_top=False, weights=None, input_shape=(32, 32, 3))
plane = keras.layers.GlobalAveragePooling2D()(body.output)
hidden = keras.layers.Dense(128, activation="relu")(plane)
model = keras.Model(body.input, keras.layers.Dense(10, activation="softmax")(hidden))
model.compile(optimizer=keras.optimizers.Adam(1e-3), loss="categorical_crossentropy")
model.fit(x[:64], y[:64], batch_size=32, epochs=1, verbose=0)
print(json.dumps([keras.__version__, tensorflow.__version__]), flush=True)
for _ in sys.stdin:
    start = time.perf_counter()
    model.fit(x, y, batch_size=32, epochs=1, verbose=0)
    print(time.perf_counter() - start, flush=True)
"""


class LabelledImages(Dataset):  # type: ignore[type-arg]
    """Images (uint8, N x H x W x C) and answers (float32, N x K), transformed one at a time."""

    def __init__(self, images: np.ndarray, answers: np.ndarray) -> None:
        self.images, self.answers = images, answers
        steps = [transforms.ToTensor(), transforms.Normalize(*IMAGENET)]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.transform(self.images[row]), torch.from_numpy(self.answers[row])


def student_of(body: str) -> Classifier:
    """Build a network with random weights."""
    return build_headed(Architecture(body), "random", SHAPE, CLASSES, seed=0)


def plain(body: str, images: np.ndarray, answers: np.ndarray) -> Callable[[], None]:
    """Return an epoch of the usual tutorial loop, in float32."""
    network = student_of(body).network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    loader = DataLoader(LabelledImages(images, answers), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        total = 0.0
        for seen, wanted in loader:
            optimiser.zero_grad()
            loss = nn.functional.cross_entropy(network(seen), wanted)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            total += loss.item()

    return epoch


def ours(
    body: str, images: np.ndarray, answers: np.ndarray, threads: int
) -> tuple[Callable[[], None], Machine]:
    """Return an epoch of Papagaio's loop, and the machine with the precision that it settles on."""
    build, answered = partial(student_of, body), Answers.of(answers)
    machine, _ = settled_precision(body, build, SHAPE, Machine(threads=threads))
    student, recipe = build(), Recipe("thesis", epochs=1)

    def epoch() -> None:
        train(student, images, answered, recipe, seed=0, machine=machine)

    return epoch, machine


def keras(python: str, body: str, images: int, threads: int) -> tuple[Callable[[], float], str]:
    """Start Keras in its own process.

    Returns:
        a function that trains an epoch and returns its seconds, and the versions.
    """
    name = body.rpartition("/")[2]
    process = subprocess.Popen(
        [python, "-c", KERAS, name, str(images), str(threads)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    sent, got = cast("IO[str]", process.stdin), cast("IO[str]", process.stdout)
    versions = json.loads(next(line for line in got if line.startswith("[")))

    def epoch() -> float:
        sent.write("\n")
        sent.flush()
        return float(got.readline())

    return epoch, f"Keras {versions[0]}, TensorFlow {versions[1]}"


def layers_of(body: str) -> Iterator[tuple[nn.Module, torch.Size, int]]:
    """Yield every convolution and dense layer, its input's shape and its operations per step."""
    layers: list[tuple[nn.Module, torch.Size, int]] = []

    def note(layer: nn.Module, given: tuple[torch.Tensor], made: torch.Tensor) -> None:
        weight = cast("torch.Tensor", layer.weight)
        # Forward, backward to the weights, and backward to the input.
        layers.append((layer, given[0].shape, 3 * 2 * made.numel() * weight[0].numel()))

    student = student_of(body)
    for layer in student.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(note)
    with torch.no_grad():
        student.eval()(torch.zeros(BATCH, 3, 32, 32))
    yield from layers


def layers_alone(body: str) -> tuple[float, int]:
    """Return the layers' seconds per step, each at its fastest, and their operations."""
    seconds, operations = 0.0, 0
    for layer, shape, count in layers_of(body):
        operations += count
        times = []
        for precision in (torch.float32, torch.bfloat16):
            alone = type(layer)(**arguments_of(layer)).to(precision)
            given = torch.randn(shape, dtype=precision).requires_grad_()
            if len(shape) == 4:
                alone = alone.to(memory_format=torch.channels_last)
                given = given.detach().contiguous(memory_format=torch.channels_last)
                given.requires_grad_()
            made = alone(given)
            gradient = torch.randn_like(made)
            for _ in range(6):
                start = time.perf_counter()
                alone(given).backward(gradient)
                times.append(time.perf_counter() - start)
        seconds += min(times)
    return seconds, operations


def arguments_of(layer: nn.Module) -> dict[str, object]:
    """Return the constructor arguments of a layer."""
    if isinstance(layer, nn.Linear):
        return {"in_features": layer.in_features, "out_features": layer.out_features}
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups")
    return {name: getattr(layer, name) for name in names} | {
        "bias": getattr(layer, "bias", None) is not None
    }


def matrix_rate(precision: torch.dtype) -> float:
    """Return the operations per second of a large matrix product."""
    a, b = torch.randn(2, 2048, 2048).to(precision).unbind()
    times = []
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times)


def spread(rates: list[float]) -> str:
    """Return the median, the least and the most as text."""
    return f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"


def compare(body: str, options: argparse.Namespace) -> None:
    """Print the table of one architecture."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (options.images, *SHAPE), np.uint8)
    answers = random.dirichlet(np.ones(CLASSES), options.images).astype(np.float32)
    mine, machine = ours(body, images, answers, options.threads)
    engines: dict[str, Callable[[], float | None]] = {
        "plain loop, float32": plain(body, images, answers),
        f"Papagaio, {machine.precision}": mine,
    }
    if options.keras:
        epoch, versions = keras(options.keras, body, options.images, options.threads)
        engines[f"{versions}, float32"] = epoch
    rates: dict[str, list[float]] = {name: [] for name in engines}
    alone = []
    for turn in range(options.rounds + 1):
        for name, run in engines.items():
            start = time.perf_counter()
            took = run() or time.perf_counter() - start
            if turn:  # the first round pays for set-up
                rates[name].append(options.images / took)
        if turn:
            seconds, operations = layers_alone(body)
            alone.append(BATCH / seconds)
    own = statistics.median(rates[f"Papagaio, {machine.precision}"])
    print(f"\n{body}: {operations / 1e9:.1f} billion operations per step of {BATCH} images")
    print("| engine | images per second: median (least to most) | Papagaio against it |")
    print("|---|---|---|")
    for name, measured in rates.items():
        print(f"| {name} | {spread(measured)} | {own / statistics.median(measured):.2f} x |")
    print(
        f"| its layers alone, each at its fastest | {spread(alone)} | "
        f"{own / statistics.median(alone):.2f} x |"
    )
    for precision in (torch.float32, torch.bfloat16):
        rate = matrix_rate(precision)
        floor = BATCH * rate / operations
        print(
            f"| floor: a {precision} matrix product, {rate / 1e9:.0f} billion per second "
            f"| {floor:.0f} | {own / floor:.2f} x |"
        )


def main() -> None:
    """Print a table for each architecture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--keras", help="an interpreter with Keras and TensorFlow")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=640)
    parser.add_argument("--threads", type=int, default=cores())
    parser.add_argument("--bodies", nargs="+", default=BODIES)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print(
        f"{processor()}, {cores()} cores, {options.threads} threads; torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, Python {sys.version.split()[0]}; "
        f"{options.rounds} rounds of {options.images} images"
    )
    for body in options.bodies:
        compare(body, options)


if __name__ == "__main__":
    main()
