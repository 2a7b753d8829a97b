"""`papagaio audit`: the whole path on a person's own model."""

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["audit"]


def audit(
    context: typer.Context,
    black_box: Annotated[
        str | None,
        typer.Argument(
            help="A Python function, FILE.py:NAME or PACKAGE.MODULE:NAME. It takes uint8 images "
            "(N, H, W, C) and returns float32 probabilities (N, K). With --weights, a function "
            "that builds a torch module: float32 (N, C, H, W) from 0 to 1 in, logits (N, K) out. "
            "Or taught=FOLDER, from papagaio teach."
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="Safetensors file for a torch module."),
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            help="A stable name of this very model. By default a digest of the weights, or of the "
            "function's file: declare one if the function's weights lie elsewhere.",
        ),
    ] = None,
    input: Annotated[  # noqa: A002  # the option's name
        str | None,
        typer.Option(
            metavar="HxWxC",
            help="What the black box takes, as 32x32x3. By default the first test image's size.",
        ),
    ] = None,
    classes: Annotated[
        int | None,
        typer.Option(help="How many classes. By default the test set's."),
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(help="Images a request. [default: 64]"),
    ] = None,
    authorised_by: Annotated[
        str | None,
        typer.Option(
            metavar='"WHO, REFERENCE"',
            help="Who allowed this audit of a model that is not yours; stands in the result.",
        ),
    ] = None,
    transfer: Annotated[
        str | None,
        typer.Option(
            help="Images from elsewhere to ask about: an image folder, .parquet, .npz, or cifar10, "
            "cifar100, digits, letters (NAME:test for another part). Labels are not used.",
        ),
    ] = None,
    test: Annotated[
        str | None,
        typer.Option(
            help="Your own labelled images, for scores and nothing else. As --transfer; in a "
            "folder, a sub-folder a class.",
        ),
    ] = None,
    own_data: Annotated[
        str | None,
        typer.Option(
            help="More labelled images of the black box's own kind, for the ceilings.",
        ),
    ] = None,
    data_dir: Annotated[
        Path | None,
        typer.Option(
            help="Where cifar10/ and cifar100/ lie as Parquet files. [default: download]",
        ),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="For images of another size: exact refuses them, stretch, crop, or pad. "
            "[default: exact]",
        ),
    ] = None,
    colour: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="For grey images where colour is needed, or the reverse: exact refuses them, "
            "convert. [default: exact]",
        ),
    ] = None,
    budget: Annotated[
        int | None,
        typer.Option(
            help="The most transfer images to ask about. Scoring and controls are asked "
            "besides; --dry-run says how many."
        ),
    ] = None,
    budgets: Annotated[
        str | None,
        typer.Option(help="Smaller budgets for a curve, as 100,500,1000."),
    ] = None,
    responses: Annotated[
        str | None,
        typer.Option(
            "--responses",
            "--response",
            help="How much an answer shows: probabilities, rounded-3, rounded-2, rounded-1, top-5, "
            "top-3, top-1, label; several with commas. Weaker ones are derived, at no query. "
            "[default: probabilities]",
        ),
    ] = None,
    recipes: Annotated[
        str | None,
        typer.Option(
            "--recipes",
            "--recipe",
            help="recovered-logits, labels, thesis; several with commas. [default: what suits the "
            "response best]",
        ),
    ] = None,
    students: Annotated[
        str | None,
        typer.Option(
            "--students",
            "--student",
            help="small-cnn, residual-cnn, timm/NAME or torchvision/NAME; several with commas. "
            "[default: by image size]",
        ),
    ] = None,
    initial: Annotated[
        str | None,
        typer.Option(
            help="The students' initial weights: random, library (downloads the library's), or a "
            "safetensors file. [default: random]",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", "--seed", help="Several with commas, as 0,1,2. [default: 0]"),
    ] = None,
    controls: Annotated[
        str | None,
        typer.Option(
            help="Floors and ceilings to train: shuffled, noise, labels, own-data; or none. Noise "
            "and own data are asked about, besides the budget. [default: all]",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Instead of the recipe's."),
    ] = None,
    augmentation: Annotated[
        str | None,
        typer.Option(
            help="crop, flip, affine, or none, instead of the recipe's. Leave flip out where "
            "mirrored images mean something else.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(help="cpu, cuda, mps or auto. [default: auto]"),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option(
            help="float32, bfloat16, or auto: whichever is measured to be faster. [default: auto]",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(help="CPU threads a training. [default: all]"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Trainings side by side. [default: 1]"),
    ] = None,
    checkpoint_seconds: Annotated[
        float | None,
        typer.Option(
            help="Least time between two checkpoints of a training. [default: 10]",
        ),
    ] = None,
    price_per_1000: Annotated[
        float | None,
        typer.Option(help="Price of 1,000 queries, for the report."),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option(help="Where answers are kept. [default: OUT/ledger.sqlite]"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="The run's folder; an existing run goes on. [default: runs/audit]"),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with these options as keys (own-data = ...). Flags win.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show the resolved settings and how many queries would be sent; send none.",
        ),
    ] = False,
) -> None:
    """Measure how good a copy of a black box can be made from its answers.

    For example: papagaio audit my_model.py:predict --transfer photos --test my_test_images
    --budget 5000 --dry-run

    Nothing paid for is lost: interrupted, the same command goes on where it stopped.
    OUT/report.html shows the result, OUT/result.json holds it.
    """
    from papagaio.auditing.run import audit as run
    from papagaio.auditing.run import forecast
    from papagaio.cli.progress import show_progress
    from papagaio.report.headline import headline
    from papagaio.settings import read_toml, settings_from, to_toml

    flags = {k: v for k, v in context.params.items() if k not in ("config", "dry_run")}
    values: dict[str, Any] = read_toml(config) if config else {}
    values |= {name.replace("_", "-"): _many(name, v) for name, v in flags.items() if v is not None}
    settings = settings_from(values, str(config) if config else "audit")
    if dry_run:
        due = forecast(settings)
        typer.echo(to_toml(due.settings), nl=False)
        for purpose, count in due.queries.items():
            typer.echo(f"# queries to send about {purpose} images: {count}")
        typer.echo(f"# queries to send in all: {due.total}")
        typer.echo(f"# trainings: {due.trainings}")
        return
    with show_progress() as progress:
        result = run(settings, progress)
    typer.echo(headline(result))
    typer.echo(f"report: {settings.out / 'report.html'}")


_LISTS = ("budgets", "responses", "recipes", "students", "seeds", "controls", "augmentation")


def _many(name: str, value: Any) -> Any:  # noqa: ANN401  # an option's value
    """Options that take several values, split at commas; `none` is no value."""
    if name not in _LISTS:
        return value
    return [] if value == "none" else [part.strip() for part in value.split(",")]
