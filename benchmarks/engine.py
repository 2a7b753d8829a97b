"""The training engine side by side with a plain loop and with Keras, and with the machine's floor.

    python benchmarks/engine.py [--keras PYTHON] [--rounds 5] [--images 640] [--threads 2]

Both of the thesis's architectures at 32 pixels, batch 32, Adam, everything trained. In every round
each engine learns the same number of images; medians over rounds are compared, because what else
the machine does changes from round to round. PYTHON is an interpreter with Keras and TensorFlow,
in an environment of its own.

Floors: what the convolutions and dense layers alone take, forward and backward, one layer after
the other, in the better of both precisions and memory formats; and the operations of a step
divided by the rate of a large matrix product.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import IO, cast

import numpy as np
import torch
import torchvision
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from papagaio.networks.classifier import IMAGENET, Classifier
from papagaio.networks.headed import Design, build_headed
from papagaio.training.loop import train
from papagaio.training.machine import Machine, cores, processor
from papagaio.training.precision import precision_for
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


class Pictures(Dataset):  # type: ignore[type-arg]
    """Images and answers as a plain program has them: one at a time, transformed."""

    def __init__(self, images: np.ndarray, answers: np.ndarray) -> None:
        self.images, self.answers = images, answers
        self.change = transforms.Compose([transforms.ToTensor(), transforms.Normalize(*IMAGENET)])

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.change(self.images[row]), torch.from_numpy(self.answers[row])


def student_of(body: str) -> Classifier:
    """One of the two networks, from random weights."""
    return build_headed(Design(body), "random", SHAPE, CLASSES, seed=0)


def plain(body: str, images: np.ndarray, answers: np.ndarray) -> Callable[[], None]:
    """The loop that one finds in every tutorial."""
    network = student_of(body).network.train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    loader = DataLoader(Pictures(images, answers), batch_size=BATCH, shuffle=True)

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
    """Papagaio's loop, in the precision that it chooses itself."""
    machine = Machine(threads=threads)
    precision, _ = precision_for(student_of(body), images, Recipe("measured"), machine)
    machine = Machine(precision=precision, threads=threads)
    student = student_of(body)
    recipe = Recipe("thesis", epochs=1)
    return lambda: void(train(student, images, answers, recipe, seed=0, machine=machine)), machine


def void(_: object) -> None:
    """Nothing, of whatever."""


def keras(python: str, body: str, images: int, threads: int) -> tuple[Callable[[], float], str]:
    """Keras in a process of its own that trains an epoch when it is told to."""
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
    """Every convolution and dense layer, the shape of its input, and its operations a batch."""
    found: list[tuple[nn.Module, torch.Size, int]] = []

    def note(layer: nn.Module, given: tuple[torch.Tensor], made: torch.Tensor) -> None:
        weight = cast("torch.Tensor", layer.weight)
        # Forward, and backward to the weights and to the input.
        found.append((layer, given[0].shape, 3 * 2 * made.numel() * weight[0].numel()))

    student = student_of(body)
    for layer in student.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(note)
    with torch.no_grad():
        student.eval()(torch.zeros(BATCH, 3, 32, 32))
    yield from found


def layers_alone(body: str) -> tuple[float, int]:
    """Seconds that the layers of a step take alone, each at its best; and all their operations."""
    seconds, operations = 0.0, 0
    for layer, shape, wanted in layers_of(body):
        operations += wanted
        times = []
        for precision in (torch.float32, torch.bfloat16):
            alone = type(layer)(**arguments_of(layer)).to(precision)
            given = torch.randn(shape, dtype=precision).requires_grad_()
            if len(shape) == 4:
                alone = alone.to(memory_format=torch.channels_last)
                given = given.detach().contiguous(memory_format=torch.channels_last)
                given.requires_grad_()
            made = alone(given)
            slope = torch.randn_like(made)
            for _ in range(6):
                start = time.perf_counter()
                alone(given).backward(slope)
                times.append(time.perf_counter() - start)
        seconds += min(times)
    return seconds, operations


def arguments_of(layer: nn.Module) -> dict[str, object]:
    """What builds a layer again."""
    if isinstance(layer, nn.Linear):
        return {"in_features": layer.in_features, "out_features": layer.out_features}
    names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "groups")
    return {name: getattr(layer, name) for name in names} | {
        "bias": getattr(layer, "bias", None) is not None
    }


def matrix_rate(precision: torch.dtype) -> float:
    """Operations a second of a large matrix product."""
    a, b = torch.randn(2, 2048, 2048).to(precision).unbind()
    times = []
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(a, b)
        times.append(time.perf_counter() - start)
    return 2 * 2048**3 / min(times)


def spread(rates: list[float]) -> str:
    """Median, least and most."""
    return f"{statistics.median(rates):.0f} ({min(rates):.0f} to {max(rates):.0f})"


def compare(body: str, options: argparse.Namespace) -> None:
    """Print one architecture's table."""
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
            if turn:  # the first round sets up
                rates[name].append(options.images / took)
        if turn:
            seconds, operations = layers_alone(body)
            alone.append(BATCH / seconds)
    own = statistics.median(rates[f"Papagaio, {machine.precision}"])
    print(f"\n{body}: {operations / 1e9:.1f} thousand million operations a step of {BATCH}")
    print("| engine | images a second, median (least to most) | Papagaio is |")
    print("|---|---|---|")
    for name, found in rates.items():
        print(f"| {name} | {spread(found)} | {own / statistics.median(found):.2f} x |")
    print(
        f"| its layers alone, each at its best | {spread(alone)} | "
        f"{own / statistics.median(alone):.2f} x |"
    )
    for precision in (torch.float32, torch.bfloat16):
        rate = matrix_rate(precision)
        floor = BATCH * rate / operations
        print(
            f"| floor by a {precision} matrix product, {rate / 1e9:.0f} thousand million a second "
            f"| {floor:.0f} | {own / floor:.2f} x |"
        )


def main() -> None:
    """Print both tables."""
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
