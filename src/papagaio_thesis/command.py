"""`papagaio reproduce thesis`: the thesis's experiments, tables, figure and claims."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["reproduce"]

reproduce = typer.Typer(
    no_args_is_help=True, help="Run published work again and put the numbers side by side."
)


@reproduce.callback()
def _group() -> None:
    """Run published work again and put the numbers side by side."""


@reproduce.command()
def thesis(
    scale: Annotated[
        Literal["full", "small"],
        typer.Option(
            help="small is a sixteenth of the images and a sixth of the epochs; every "
            "number made with it is marked as such."
        ),
    ] = "full",
    experiments: Annotated[
        str | None,
        typer.Option(
            "--experiments",
            "--experiment",
            help="1 VGG16 and 3 MobileNetV2 on the large transfer set, 2 and 4 on the small one; "
            "several with commas; or none. [default: all]",
        ),
    ] = None,
    studies: Annotated[
        str | None,
        typer.Option(
            "--studies",
            "--study",
            help="What the claims rest on besides: beyond, in-scope, start, explosion, magnified, "
            "longer, superclasses, similar, temperature, taxonomy; several with commas; or none. "
            "[default: all, or none where --experiment is given]",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, help="How many trainings of each experiment: 3 is seeds 0, 1, 2.")
    ] = 1,
    options: Annotated[
        Path | None,
        typer.Option(help="A TOML file with options that differ from the study file's."),
    ] = None,
    weights_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where vgg16_imagenet.safetensors and mobilenet_v2_imagenet.safetensors lie, with "
            "torchvision's names. [default: download]",
        ),
    ] = None,
    stand_in: Annotated[
        Path | None,
        typer.Option(
            help="A safetensors file of a trained teacher that stands in for the thesis's own; "
            "named as a stand-in in every table."
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where cifar10/ and cifar100/ lie as Parquet files. [default: download]"),
    ] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="auto is whichever is measured to be faster, for each architecture."),
    ] = "auto",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads a training. [default: all]")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trainings side by side.")] = 1,
    out: Annotated[Path, typer.Option(help="The run's folder; a stopped run goes on.")] = Path(
        "runs/thesis"
    ),
) -> None:
    """Reproduce the thesis that Papagaio grew out of: teacher, experiments, tables, claims.

    Without options it downloads CIFAR-10, CIFAR-100 and ImageNet weights and does everything:
    about three days on two cores without a GPU, about two hours with --scale small.
    OUT/thesis.html puts the thesis's numbers and the measured ones side by side.
    """
    from papagaio.cli.progress import show_progress
    from papagaio.errors import BadSettings
    from papagaio_thesis.inputs import Weights
    from papagaio_thesis.plan import EXPERIMENTS, STUDIES
    from papagaio_thesis.run import Reproduction
    from papagaio_thesis.run import reproduce as run

    numbers = [*map(str, EXPERIMENTS)] if experiments is None else _several(experiments)
    if unknown := [n for n in numbers if n not in map(str, EXPERIMENTS)]:
        raise BadSettings(f"--experiment {unknown[0]}: there are 1, 2, 3 and 4")
    default = STUDIES if experiments is None else ()
    names = default if studies is None else _several(studies)
    if unknown := [name for name in names if name not in STUDIES]:
        raise BadSettings(f"--study {unknown[0]}: there are {', '.join(STUDIES)}")
    wanted = Reproduction(
        out=out,
        scale=scale,
        experiments=tuple(map(int, numbers)),
        studies=tuple(study for study in STUDIES if study in names),
        seeds=seeds,
        options=options,
        weights=Weights(weights_dir, stand_in),
        data_dir=data_dir,
        device=device,
        precision=precision,
        threads=threads,
        workers=workers,
    )
    with show_progress() as progress:
        result = run(wanted, progress)
    typer.echo(
        f"{len(result.trials)} trainings; {'complete' if result.complete else 'not complete'}"
    )
    if (out / "thesis.html").exists():
        typer.echo(f"report: {out / 'thesis.html'}")


def _several(words: str) -> list[str]:
    words_apart = [] if words == "none" else [word.strip() for word in words.split(",")]
    return list(dict.fromkeys(words_apart))
