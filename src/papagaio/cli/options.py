"""A model of settings -> the parameters, help and values of a command."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer
from pydantic.fields import FieldInfo
from rich.markup import escape

from papagaio.options import Option, OptionSet, read_toml, validated

__all__ = ["by_group", "command", "flag", "option_of", "placeholder", "reflowed"]

S = TypeVar("S", bound=OptionSet)


def reflowed(text: str | None) -> str:
    """A docstring with each paragraph on one line, so that help wraps it to the terminal."""
    return "\n\n".join(" ".join(part.split()) for part in (text or "").split("\n\n"))


def flag(field: str) -> str:
    """The flag of a field, such as `--own-data`."""
    return f"--{field.replace('_', '-')}"


def option_of(field: FieldInfo) -> Option:
    """Where and how a field appears in help."""
    (option,) = (one for one in field.metadata if isinstance(one, Option))
    return option


def command(model: type[S], run: Callable[..., None]) -> Callable[..., None]:
    """A typer command whose options are the fields of a model.

    Args:
        model: the settings; the order of groups in help is that of the model's fields.
        run: takes the checked settings, and then its own parameters. Its docstring is the help.

    Returns:
        a function to register with typer. Besides the model's options and those of `run` it has
        `--config FILE`.
    """
    own = list(inspect.signature(run).parameters.values())[1:]

    def called(**given: Any) -> None:  # noqa: ANN401  # values of any option
        own_values = {parameter.name: given.pop(parameter.name) for parameter in own}
        config: Path | None = given.pop("config")
        values = read_toml(config) if config else {}
        in_file = set(values)
        flags = {
            name.replace("_", "-"): v for name, v in given.items() if v not in (None, False, [])
        }

        def name_of(name: str) -> str:
            if name in in_file - set(flags):
                return f"{config}: {name}"
            return positional.get(name, flag(name))

        run(validated(model, values | flags, name_of), **own_values)

    positional = {
        name.replace("_", "-"): option_of(field).metavar
        for name, field in model.model_fields.items()
        if option_of(field).positional
    }
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(name, keyword, default=None, annotation=_annotation(name, field))
        for name, field in by_group(model)
    ]
    parameters.append(inspect.Parameter("config", keyword, default=None, annotation=_CONFIG))
    parameters += [parameter.replace(kind=keyword) for parameter in own]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    called.__doc__ = reflowed(run.__doc__)
    called.__name__ = run.__name__
    return called


_CONFIG = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="A TOML file with these options as keys; the command line wins.",
        rich_help_panel="Output",
    ),
]


def by_group(model: type[OptionSet]) -> list[tuple[str, FieldInfo]]:
    """The fields of a model, group by group, in the order of the classes that it is made of."""
    classes = [one for one in model.__mro__ if issubclass(one, OptionSet)]
    own = [inspect.get_annotations(one) for one in classes]
    fields = model.model_fields
    ordered = dict.fromkeys(name for names in own for name in fields if name in names)
    groups = list(dict.fromkeys(option_of(fields[name]).group for name in ordered))
    # The sort is stable: within a group, in that order too.
    by_class = [(name, fields[name]) for name in ordered]
    return sorted(by_class, key=lambda item: groups.index(option_of(item[1]).group))


def _annotation(name: str, field: FieldInfo) -> Any:  # noqa: ANN401  # an annotated type
    option = option_of(field)
    default = _default(field)
    text = reflowed(field.description) + (f" [default: {default}]" if default else "")
    shown: dict[str, Any] = {
        "help": escape(text),
        "rich_help_panel": option.group,
        "show_default": False,
    }
    if field.annotation is bool:
        return Annotated[bool | None, typer.Option(flag(name), **shown)]
    shown["metavar"] = placeholder(field)
    if option.positional:
        return Annotated[str | None, typer.Argument(**shown)]
    also = [flag(option.also)] if option.also else []
    if option.repeated:
        return Annotated[list[str] | None, typer.Option(flag(name), *also, **shown)]
    # Texts: the model checks and converts, with one kind of message for flags and files.
    return Annotated[str | None, typer.Option(flag(name), *also, **shown)]


def placeholder(field: FieldInfo) -> str:
    """What stands for a field's value in help, such as `N` or its choices."""
    return option_of(field).metavar or "|".join(_choices(field.annotation))


def _choices(annotation: Any) -> list[str]:  # noqa: ANN401  # any annotation
    """The values of a Literal, or of a union of Literals."""
    inner = [one for one in get_args(annotation) if one is not type(None)]
    return [one for part in inner for one in (_choices(part) if get_args(part) else [str(part)])]


def _default(field: FieldInfo) -> str:
    option = option_of(field)
    if option.default or field.is_required() or field.default in (None, False):
        return option.default
    if isinstance(field.default, tuple):
        return ",".join(map(str, field.default))
    return str(field.default)
