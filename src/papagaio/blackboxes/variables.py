"""Secrets in texts: `${NAME}` is an environment variable, and only requests hold its value."""

import os
import re
from dataclasses import dataclass

from papagaio.errors import BadSettings

__all__ = ["Header", "check_parameters", "filled", "hidden", "parsed_headers"]

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~\w-]+): *([ -~]*)", re.ASCII)
_PARAMETER = re.compile(r"[?&]([^=&#]*)=([^&#]*)")
_SECRET = re.compile(r"auth|key|token|secret|password|cookie|credential", re.IGNORECASE)


@dataclass(frozen=True)
class Header:
    """A header of each request; its value may hold variables."""

    name: str
    value: str


def parsed_headers(lines: tuple[str, ...]) -> tuple[Header, ...]:
    """The headers in lines `Name: value`.

    Raises:
        BadSettings: a line is no header, one that holds a secret has no variable in it, or a
            variable is not set.
    """
    headers = []
    for line in lines:
        match = _HEADER.fullmatch(line)
        if not match:
            # The line may be a secret.
            raise BadSettings("write a header as NAME: VALUE, in ASCII", field="headers")
        name, value = match.groups()
        _refuse_secret(name, value, f"{name}: ")
        filled(value)
        headers.append(Header(name, value))
    return tuple(headers)


def check_parameters(url: str) -> None:
    """Refuse a URL with a secret in its query.

    Raises:
        BadSettings: a parameter that holds a secret has no variable in it.
    """
    for name, value in _PARAMETER.findall(url):
        _refuse_secret(name, value, f"{name}=")


def filled(text: str) -> str:
    """A text with the value of each variable.

    Raises:
        BadSettings: a variable is not set, or holds what no header can.
    """

    def value_of(match: re.Match[str]) -> str:
        value = os.environ.get(match[1], "")
        if not value or not (value.isascii() and value.isprintable()):
            wrong = "holds other characters than printable ASCII" if value else "is not set"
            raise BadSettings(f"the environment variable {match[1]} {wrong}", field="headers")
        return value

    return _VARIABLE.sub(value_of, text)


def hidden(text: str, *templates: str) -> str:
    """A text in which the values of the templates' variables are replaced by their names."""
    names = {name for template in templates for name in _VARIABLE.findall(template)}
    for name in sorted(names, key=lambda name: -len(os.environ.get(name, ""))):
        value = os.environ.get(name)
        text = text.replace(value, f"${{{name}}}") if value else text
    return text


def _refuse_secret(name: str, value: str, before: str) -> None:
    if _SECRET.search(name) and not _VARIABLE.search(value):
        raise BadSettings(
            f"{name} looks like a secret, which would be stored with the settings; put it into an "
            f"environment variable, and write '{before}${{VARIABLE}}' in single quotes",
            field="headers",
        )
