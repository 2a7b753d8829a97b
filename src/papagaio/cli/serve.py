"""`papagaio serve`: a practice service over a black box."""

from contextlib import closing

import typer

from papagaio.cli.options import command
from papagaio.errors import BadSettings, to_install
from papagaio.serving.settings import ServeOptions

__all__ = ["serve"]


def _serve(options: ServeOptions) -> None:
    """Answer requests with a black box on this machine, to practise auditing a service.

    For example: papagaio serve my_model.py:predict --input 224x224x3 --classes 10 --price-per-1000
    2 --faults 0.1

    It speaks the Open Inference Protocol (/v2/models/model) and a plain form of JSON (/classify),
    counts what it answers (/usage), and can only be reached from this machine. Ctrl-C ends it.
    """
    from papagaio.responses import shown_step

    try:
        from papagaio.serving.run import open_service
    except ModuleNotFoundError as error:
        raise BadSettings(f"papagaio serve needs {error.name}: {to_install('serve')}") from error
    service = open_service(options)
    shown, step = service.contract.response, service.contract.resolution
    shows = "" if shown == "probabilities" else f" --shows {shown}"
    steps = f" --resolution {shown_step(step)}" if step else ""
    images = f"{service.address}{shows}{steps} --test my_test_images/ --resize crop"
    typer.echo(f"{options.black_box} answers at {service.address}; Ctrl-C ends it", err=True)
    typer.echo(f"try: papagaio check {images}", err=True)
    typer.echo(f"     papagaio audit {images} --transfer photos/ --budget 500", err=True)
    with closing(service):
        service.run()


serve = command(ServeOptions, _serve)
