"""Training steps on a CUDA device as captured graphs: one launch per step instead of hundreds."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["CapturedStep"]

_WARM_UP_CALLS = 3


class CapturedStep:
    """A function of tensors of a few fixed shapes, captured once per shape and then replayed.

    The first calls of a shape run directly, on a stream of their own, as PyTorch requires before a
    capture; their effects count. Whatever the function changes in place, such as weights and
    moments, must keep its address.
    """

    def __init__(self, function: Callable[..., tuple[Tensor, ...]]) -> None:
        self._function = function
        self._calls: dict[tuple[torch.Size, ...], int] = {}
        self._graphs: dict[tuple[torch.Size, ...], _Captured] = {}
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]

    def __call__(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return what the function returns, as copies that the next call does not overwrite."""
        shapes = tuple(one.shape for one in inputs)
        calls = self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if calls <= _WARM_UP_CALLS:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                outputs = self._function(*inputs)
            torch.cuda.current_stream().wait_stream(self._stream)
            return outputs
        if shapes not in self._graphs:
            self._graphs[shapes] = _Captured(self._function, inputs)
        return self._graphs[shapes](inputs)


class _Captured:
    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], inputs: tuple[Tensor, ...]
    ) -> None:
        self._inputs = tuple(one.clone() for one in inputs)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function(*self._inputs)

    def __call__(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        for own, one in zip(self._inputs, inputs, strict=True):
            own.copy_(one)
        self._graph.replay()
        return tuple(one.clone() for one in self._outputs)
