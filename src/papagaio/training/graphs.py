"""Training steps on a CUDA device as recorded graphs: one launch a step instead of hundreds."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["CapturedStep"]

_WARM = 3


class CapturedStep:
    """A function of tensors of a few fixed shapes that is recorded once for each, and replayed.

    The first calls of a shape run as they are, on a stream of their own (as PyTorch asks before a
    recording); they are real, and so are their effects. What the function changes in place, as
    weights and moments, must stay at its address.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self._function = function
        self._calls: dict[tuple[torch.Size, ...], int] = {}
        self._graphs: dict[tuple[torch.Size, ...], _Recorded] = {}
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, *given: Tensor) -> tuple[Tensor, ...]:
        """What the function gives; copies, which the next call leaves alone."""
        shapes = tuple(one.shape for one in given)
        calls = self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if calls <= _WARM:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                made = self._function(*given)
            torch.cuda.current_stream().wait_stream(self._stream)
            return made
        if shapes not in self._graphs:
            self._graphs[shapes] = _Recorded(self._function, given)
        return self._graphs[shapes](given)


class _Recorded:
    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], given: tuple[Tensor, ...]
    ) -> None:
        self._given = tuple(one.clone() for one in given)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._made = function(*self._given)

    def __call__(self, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for own, one in zip(self._given, given, strict=True):
            own.copy_(one)
        self._graph.replay()
        return tuple(one.clone() for one in self._made)
