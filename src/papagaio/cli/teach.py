"""`papagaio teach`: train a classifier to audit as a black box."""

import typer

from papagaio.cli.options import command
from papagaio.cli.printing import AsJson, print_json
from papagaio.teaching.settings import TeachSettings

__all__ = ["teach"]


def _teach(settings: TeachSettings, as_json: AsJson = False) -> None:
    """Train a classifier that you can audit as a black box.

    For example: papagaio teach --data cifar10 --test cifar10:test --body torchvision/vgg16
    --phase 10,1e-3,2 --phase 7,1e-5,4 --flip 0.5

    Frozen layers are computed once, not in every epoch. To audit the result:
    papagaio audit taught=OUT --transfer cifar100 --test cifar10 --budget 10000
    """
    from papagaio.cli.progress import show_progress
    from papagaio.teaching.run import teach_from

    with show_progress() as progress:
        accuracies = teach_from(settings, progress)
    if as_json:
        print_json({"accuracy": accuracies, "black_box": f"taught={settings.out}"})
        return
    for part, figure in accuracies.items():
        typer.echo(
            f"accuracy on {part}: {figure.value:.4f} ({figure.low:.4f} to {figure.high:.4f})"
        )
    typer.echo(f"black box: taught={settings.out}")


teach = command(TeachSettings, _teach)
