"""`papagaio doctor`: what is here, what is missing, and what to do about it."""

from importlib.metadata import PackageNotFoundError, version

import typer

from papagaio.errors import BadSettings

__all__ = ["doctor"]

_NEEDED = [
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "pyarrow",
    "typer",
    "rich",
    "pydantic",
    "jinja2",
    "safetensors",
    "scipy",
]
_EXTRAS = {
    "demo": ("scikit-learn", "matplotlib"),
    "onnx": ("onnxruntime",),
    "keras": ("keras", "h5py"),
    "tflite": ("ai-edge-litert",),
    "transformers": ("transformers",),
    "http": ("httpx2", "jmespath"),
    "serve": ("fastapi", "uvicorn"),
}


def doctor() -> None:
    """Show versions, device and threads, and what is missing."""
    missing = [name for name in _NEEDED if not _show_version(name)]
    absent = [extra for extra, names in _EXTRAS.items() if not all([*map(_show_version, names)])]
    for extra in absent:
        typer.echo(f"  to have {extra}: pip install '.[{extra}]' in Papagaio's checkout")
    if missing:
        raise BadSettings(f"missing: {', '.join(missing)}; install papagaio again with pip")
    _check_pair()

    import torch

    from papagaio.hardware import cores, processor
    from papagaio.training.machine import choose_device

    device, reason = choose_device("auto")
    typer.echo(f"processor\t{processor()}, {cores()} cores")
    typer.echo(f"device\t{device} ({reason})")
    typer.echo(f"threads\t{torch.get_num_threads()}")
    typer.echo(f"only extras are missing: {', '.join(absent)}" if absent else "nothing is missing")


def _show_version(name: str) -> bool:
    try:
        found = version(name)
    except PackageNotFoundError:
        found = ""
    typer.echo(f"{name}\t{found or 'missing'}")
    return bool(found)


def _check_pair() -> None:
    """Torch and torchvision of different releases install side by side and fail at import."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        raise BadSettings(
            f"torchvision does not fit torch ({error}); in a fresh environment install papagaio "
            "alone: pip then chooses torch, torchvision and timm together"
        ) from error
