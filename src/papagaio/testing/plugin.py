"""The plugin that pytest loads: its options, and the fixture `audit`.

pytest imports this module in every test run of an environment, so that it imports nothing else
before a test asks for the fixture.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from papagaio.testing.audited import Audited

__all__ = ["audit", "pytest_addoption"]

_RUN, _AUDIT = "papagaio_run", "papagaio_audit"
_HELP = {
    _RUN: "the folder of a run of papagaio, which the fixture audit reads",
    _AUDIT: "a TOML file of papagaio audit, which the fixture audit runs or resumes",
}
_FROM = {
    _RUN: ("papagaio.testing.audited", "read_audited"),
    _AUDIT: ("papagaio.testing.running", "run_audit"),
}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--papagaio-run`, `--papagaio-audit`, and settings of the same names."""
    group = parser.getgroup("papagaio")
    for name, text in _HELP.items():
        group.addoption(f"--{name.replace('_', '-')}", metavar="PATH", help=text)
        parser.addini(name, text, default="")


@pytest.fixture(scope="session")
def audit(pytestconfig: pytest.Config) -> "Audited":
    """What an audit measured: `assert audit.fidelity_at(5000).high < 0.8`."""
    from papagaio.errors import PapagaioError  # noqa: PLC0415  # see the module

    name, path = _named(pytestconfig)
    module, function = _FROM[name]
    try:
        return getattr(import_module(module), function)(path)  # type: ignore[no-any-return]
    except PapagaioError as error:
        pytest.fail(f"papagaio: {error}", pytrace=False)


def _named(config: pytest.Config) -> tuple[str, Path]:
    """The run or the file that is named: on the command line, or else in the configuration."""
    base = config.inipath.parent if config.inipath else config.rootpath
    given = {name: config.getoption(name) for name in _HELP if config.getoption(name)}
    base = config.invocation_params.dir if given else base
    given = given or {name: config.getini(name) for name in _HELP if config.getini(name)}
    if len(given) != 1:
        pytest.fail(
            f"papagaio: name the folder of a run with {_RUN} or a TOML file of papagaio audit with"
            f" {_AUDIT}, in pytest's configuration or as --papagaio-run or --papagaio-audit; one"
            " of them",
            pytrace=False,
        )
    ((name, text),) = given.items()
    return name, base / text
