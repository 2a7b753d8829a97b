"""`papagaio teach`: a black box of one's own to audit."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["teach"]


def teach(
    data: Annotated[
        str,
        typer.Option(
            help="Labelled images to learn: an image folder with a sub-folder a class, .parquet, "
            ".npz, or cifar10, cifar100, digits (NAME:test for another part)."
        ),
    ],
    body: Annotated[
        str,
        typer.Option(
            help="Whose convolutions: torchvision/NAME (vgg16, mobilenet_v2, ...) or timm/NAME."
        ),
    ] = "torchvision/mobilenet_v2",
    initial: Annotated[
        str,
        typer.Option(
            help="Their weights at the start: library (downloads ImageNet's), random, or a "
            "safetensors file with the library's names."
        ),
    ] = "library",
    head: Annotated[
        str,
        typer.Option(help="Widths of the hidden dense layers, as 256,128; or none."),
    ] = "128",
    pooling: Annotated[
        Literal["mean", "flatten"],
        typer.Option(help="Of the last plane before the dense layers."),
    ] = "mean",
    dropout: Annotated[
        float, typer.Option(min=0, max=1, help="Behind each hidden dense layer.")
    ] = 0.0,
    side: Annotated[
        int, typer.Option(min=0, help="Enlarge images to so many pixels a side; 0 leaves them.")
    ] = 0,
    phases: Annotated[
        list[str] | None,
        typer.Option(
            "--phase",
            metavar="EPOCHS,RATE,LAYERS",
            help="Repeat for several phases. LAYERS is how many of the last layers learn, dense "
            "ones included, or all. The thesis's: --phase 10,1e-3,2 --phase 7,1e-5,4. "
            "[default: 10,1e-3,all]",
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option(min=3, help="Images a step; normalisation needs more than one.")
    ] = 32,
    flip: Annotated[
        float, typer.Option(min=0, max=1, help="The probability that an image is mirrored.")
    ] = 0.0,
    brighten: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="The probability that its brightness changes, by 0.8 or 1.2."
        ),
    ] = 0.0,
    test: Annotated[
        str | None, typer.Option(help="Labelled images to measure it on in the end.")
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where cifar10/ and cifar100/ lie as Parquet files. [default: download]"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and augmentation.")] = 0,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads. [default: all]")] = None,
    out: Annotated[
        Path, typer.Option(help="The folder of the black box; a stopped teaching goes on.")
    ] = Path("runs/teacher"),
) -> None:
    """Teach a classifier, to have a black box of your own.

    For example: papagaio teach --data cifar10 --test cifar10:test --body torchvision/vgg16
    --phase 10,1e-3,2 --phase 7,1e-5,4 --flip 0.5

    Frozen layers are computed once and not in every epoch. Then audit it: papagaio audit
    taught=OUT --transfer cifar100 --test cifar10 --budget 10000
    """
    from papagaio.cli.progress import show_progress
    from papagaio.errors import BadSettings
    from papagaio.networks.headed import Architecture, Head
    from papagaio.teaching import Lecture, phases_from, teach_from
    from papagaio.training.variants import Variants

    try:
        widths = () if head == "none" else tuple(int(width) for width in head.split(","))
    except ValueError:
        widths = (0,)
    if min(widths, default=1) < 1:
        raise BadSettings(f"--head {head}: write widths as 256,128, or none")
    variants = Variants(flip, (0.8, 1.2) if brighten else (), brighten)
    lecture = Lecture(
        data=data,
        test=test,
        data_dir=data_dir,
        design=Architecture(body, Head(pooling, widths, dropout), side),
        initial=initial,
        phases=phases_from(phases or ["10,1e-3,all"], batch, variants),
        seed=seed,
        device=device,
        threads=threads,
        out=out,
    )
    with show_progress() as progress:
        scores = teach_from(lecture, progress)
    for part, score in scores.items():
        typer.echo(f"accuracy on {part}: {score.value:.4f} ({score.low:.4f} to {score.high:.4f})")
    typer.echo(f"black box: taught={out}")
