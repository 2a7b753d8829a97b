"""`papagaio schema`: what files of settings and results may hold, for editors and programs."""

import json
from typing import Annotated, Literal

import typer

from papagaio.settings import Settings

__all__ = ["schema"]


def schema(
    of: Annotated[
        Literal["result", "config"],
        typer.Argument(help="result.json, or a TOML file for papagaio audit --config."),
    ],
) -> None:
    """Print the JSON Schema (2020-12) of a result, or of the settings of an audit."""
    if of == "result":
        from papagaio.result import json_schema

        typer.echo(json_schema(), nl=False)
    else:
        typer.echo(json.dumps(Settings.model_json_schema(by_alias=True), indent=2))
