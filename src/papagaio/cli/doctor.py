"""`papagaio doctor`: what is here, what is missing, and what to do about it."""

from importlib.metadata import PackageNotFoundError, version

import typer

from papagaio.cli.printing import AsJson, print_json
from papagaio.errors import BadSettings, to_install

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
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow-skinny",),
    "ray": ("ray",),
    "slurm": ("submitit",),
}


def doctor(as_json: AsJson = False) -> None:
    """Show versions, device and threads, and what is missing."""
    needed = {name: _version(name) for name in _NEEDED}
    extras = {extra: {name: _version(name) for name in names} for extra, names in _EXTRAS.items()}
    absent = [extra for extra, found in extras.items() if None in found.values()]
    missing = [name for name, found in needed.items() if found is None]
    packages = needed | {name: one for found in extras.values() for name, one in found.items()}
    if not as_json:
        for name, found in packages.items():
            typer.echo(f"{name}\t{found or 'missing'}")
        for extra in absent:
            typer.echo(f"  to have {extra}: {to_install(extra)}")
    if missing:
        raise BadSettings(f"missing: {', '.join(missing)}; install papagaio again with pip")
    _check_pair()
    machine = _machine()
    if as_json:
        print_json({"packages": packages, "missing_extras": absent, **machine})
        return
    for name, value in machine.items():
        typer.echo(f"{name}\t{value}")
    typer.echo(f"only extras are missing: {', '.join(absent)}" if absent else "nothing is missing")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _machine() -> dict[str, object]:
    import torch

    from papagaio.hardware import cores, processor
    from papagaio.training.machine import choose_device

    device, reason = choose_device("auto")
    return {
        "processor": f"{processor()}, {cores()} cores",
        "device": f"{device} ({reason})",
        "threads": torch.get_num_threads(),
    }


def _check_pair() -> None:
    """Torch and torchvision of different releases install side by side and fail at import."""
    try:
        import torchvision  # noqa: F401
    except (ImportError, RuntimeError) as error:
        raise BadSettings(
            f"torchvision does not fit torch ({error}); in a fresh environment install papagaio "
            "alone: pip then chooses torch, torchvision and timm together"
        ) from error
