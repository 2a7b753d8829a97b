"""The machine: device, precision and threads of a training, and how they are chosen."""

from dataclasses import dataclass

import torch

from papagaio.errors import BadSettings
from papagaio.hardware import keep_memory
from papagaio.vocabulary import Precision

__all__ = ["Machine", "choose_device"]


@dataclass(frozen=True)
class Machine:
    """Where a network is trained.

    Attributes:
        device: `cpu`, `cuda` or `mps`, optionally with a number as in `cuda:1`.
        precision: that of convolutions and matrix products; weights and losses are always float32.
        threads: CPU threads per training.
    """

    device: str = "cpu"
    precision: Precision = "float32"
    threads: int = 1

    def use(self) -> torch.device:
        """Set threads and memory, make arithmetic repeatable, and return the device."""
        torch.set_num_threads(self.threads)
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True
        device = torch.device(self.device)
        if device.type == "cpu":
            keep_memory()
        if device.type == "cuda" and device.index is not None:
            torch.cuda.set_device(device)
        return device

    def autocast(self) -> torch.autocast:
        """Return a context in which convolutions and matrix products use this precision."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bfloat16")


def choose_device(wanted: str) -> tuple[str, str]:
    """Return the device to use, and the reason in words.

    Args:
        wanted: `auto`, or a torch device.

    Raises:
        BadSettings: torch cannot use this device.
    """
    if wanted != "auto":
        try:
            torch.zeros(1, device=wanted).item()
        except (RuntimeError, AssertionError, NotImplementedError) as error:
            reason = str(error).splitlines()[0]
            raise BadSettings(
                f"not usable here ({reason}); choose auto or cpu", field="device", value=wanted
            ) from error
        return wanted, "as requested"
    for kind, present in (
        ("cuda", torch.cuda.is_available()),
        ("mps", torch.backends.mps.is_available()),
    ):
        if present:
            return kind, "the fastest device of this machine"
    return "cpu", "no GPU that torch can use"
