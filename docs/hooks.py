"""MkDocs hook: fill the reference pages from the code, and keep the site free of outside requests.

A page asks for generated text with a marker on a line of its own: `<!-- commands -->`,
`<!-- python-api -->` or `<!-- result-schema -->`.
"""

import html
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

import papagaio
from papagaio.cli.main import app

DOCS = Path(__file__).parent

_MARKER = re.compile(r"^<!-- (commands|python-api|result-schema) -->$", re.MULTILINE)
_OUTSIDE = re.compile(
    r"""<(?:script|link|img|iframe|source)\b[^>]*(?:src|href)=["']?(?:https?:)?//[^"'> ]*"""
)


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace each marker by its generated text."""
    return _MARKER.sub(lambda marker: _GENERATORS[marker[1]](), markdown)


def on_post_page(output: str, page: Any, **_: object) -> str:
    """Refuse a page that loads something from another host.

    Raises:
        ValueError: the page has such an element.
    """
    if request := _OUTSIDE.search(output):
        raise ValueError(f"{page.file.src_uri} loads from outside: {request[0]}")
    return output


def commands_reference() -> str:
    """Every command with its arguments and options, one table per group of options."""
    return "\n\n".join(_command("papagaio", get_command(app)))


def _command(path: str, command: Any) -> Iterator[str]:
    """The sections of a command and of its subcommands, as Markdown."""
    context = command.context_class(command, info_name=path)
    yield f"## `{path}`"
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```text\n{path} {usage}\n```"
    # Paragraphs are wrapped in the source; an indented line would become a code block.
    yield "\n".join(line.strip() for line in _unescaped(command.help or "").splitlines())
    yield from _option_tables(command, context)
    for name, subcommand in getattr(command, "commands", {}).items():
        if not subcommand.hidden:
            yield from _command(f"{path} {name}", subcommand)


def _option_tables(command: Any, context: Any) -> Iterator[str]:
    groups: dict[str, list[tuple[str, str]]] = {}
    for parameter in command.get_params(context):
        default_group = "Arguments" if parameter.param_type_name == "argument" else "Options"
        group = getattr(parameter, "rich_help_panel", None) or default_group
        # Hidden parameters have no record.
        if record := parameter.get_help_record(context):
            names = parameter.metavar if default_group == "Arguments" else record[0]
            groups.setdefault(group, []).append((names or record[0], _unescaped(record[1])))
    for group, records in groups.items():
        rows = [f"| <code>{_cell(names)}</code> | {_cell(text)} |" for names, text in records]
        yield "\n".join([f"| {group} | |", "|---|---|", *rows])


def _unescaped(text: str) -> str:
    """Help without the backslashes that keep Rich from reading brackets as markup."""
    return text.replace("\\[", "[")


def _cell(text: str) -> str:
    """Text as one cell of a Markdown table, with nothing in it that Markdown would interpret."""
    plain = html.escape(" ".join(text.split()), quote=False)
    return re.sub(r"([\\|\[\]*_`])", r"\\\1", plain)


def python_reference() -> str:
    """One mkdocstrings directive per public name of the package."""
    names = [name for name in papagaio.__all__ if not name.startswith("__")]
    return "\n\n".join(f"::: papagaio.{name}" for name in sorted(names, key=str.lower))


def schema_reference() -> str:
    """The fields of every object in `result.json`, from the committed JSON Schema."""
    schema = json.loads((DOCS / "result.schema.json").read_text(encoding="utf-8"))
    objects = {"result.json": schema} | schema.get("$defs", {})
    return "\n\n".join(_schema_object(*item) for item in objects.items())


def _schema_object(name: str, schema: dict[str, Any]) -> str:
    lines = [f"## {name}", "", " ".join(schema.get("description", "").split()), ""]
    lines += ["| field | type | meaning |", "|---|---|---|"]
    for field, value in schema.get("properties", {}).items():
        meaning = _cell(value.get("description", ""))
        lines.append(f"| `{field}` | {_schema_type(value)} | {meaning} |")
    return "\n".join(lines)


def _schema_type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_schema_type(one) for one in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "items" in schema:
        return f"list of {_schema_type(schema['items'])}"
    if isinstance(values := schema.get("additionalProperties"), dict):
        return f"map to {_schema_type(values)}"
    return str(schema.get("type", "any"))


_GENERATORS: dict[str, Callable[[], str]] = {
    "commands": commands_reference,
    "python-api": python_reference,
    "result-schema": schema_reference,
}
