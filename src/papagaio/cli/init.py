"""`papagaio init`: a commented file of settings, from the settings' own descriptions."""

import json
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, get_args

import typer
from pydantic.fields import FieldInfo

from papagaio.cli.options import by_group, option_of, placeholder
from papagaio.errors import BadSettings
from papagaio.settings import Settings

__all__ = ["init"]

_HEAD = """\
# The settings of an audit: papagaio audit --config {path}
# What has no default is set to an example: put your own there. To change one of the others, take
# away the # before its name. What the command line says wins. Paths start where you run it.
"""


def init(
    file: Annotated[Path, typer.Argument(help="The file to write.")] = Path("audit.toml"),
) -> None:
    """Write a commented TOML file with every setting of an audit, to fill in.

    Then: papagaio audit --config audit.toml --dry-run
    """
    from papagaio import files

    if file.exists():
        raise BadSettings(f"{file} is there already; name another file")
    files.write(file, _HEAD.format(path=file) + "\n".join(_lines()) + "\n")
    typer.echo(f"written\t{file}")


def _lines() -> Iterator[str]:
    last = ""
    for name, field in by_group(Settings):
        option = option_of(field)
        if option.group != last:
            yield f"\n\n# {option.group}"
            last = option.group
        words = " ".join((field.description or "").split())
        if option.default:
            words += f" Default: {option.default}."
        yield "\n" + textwrap.fill(words, 98, initial_indent="# ", subsequent_indent="# ")
        set_here = "" if field.is_required() else "#"
        yield f"{set_here}{name.replace('_', '-')} = {_value(field)}"


def _value(field: FieldInfo) -> str:
    """The default; where there is none, an example, or a placeholder such as N."""
    if field.examples:
        return json.dumps(field.examples[0])
    if field.default is not None:
        return json.dumps(field.default, default=str)
    words = placeholder(field).strip('"')
    return words if {int, float} & {*get_args(field.annotation)} else json.dumps(words)
