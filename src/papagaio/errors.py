"""Papagaio's own errors, in one tree.

* PapagaioError: the message says what is wrong, where, and how to fix it. The command line prints
  it as one line and exits with `exit_code`.

  * BadImages: a source of images is missing, broken, or does not fit the contract.
  * BadAnswer: the black box raised, or returned what its contract does not allow.

    * NoAnswer: a service failed, or stopped answering (exit code 1: not the user's mistake).

  * BadSettings: an option, a name or a configuration file is wrong.
  * BadLedger: a file is not a ledger, or its contents contradict each other.
  * Busy: another process works on the same run directory or ledger.
  * NoSpace: the disk is full.
  * Lost: a cluster lost its machines, or a training its worker (exit code 1).
  * Diverged: the loss of a training stopped being finite (exit code 1: not the user's mistake).
  * GateFailed: a rule about a run does not hold (exit code 10).
"""

from collections.abc import Callable

__all__ = [
    "BadAnswer",
    "BadImages",
    "BadLedger",
    "BadSettings",
    "Busy",
    "Diverged",
    "GateFailed",
    "Lost",
    "NoAnswer",
    "NoSpace",
    "PapagaioError",
    "to_install",
]


def to_install(extra: str) -> str:
    """How to install what an extra needs, as every message about a missing one says it."""
    return f"pip install '.[{extra}]' in Papagaio's checkout"


class PapagaioError(Exception):
    """Something the user can fix.

    Attributes:
        exit_code: what the command line exits with.
        field: the setting at fault, as `Settings` names it (`own_data`), or None.
        value: its value, or None.
    """

    exit_code = 2

    def __init__(self, message: str, *, field: str | None = None, value: object = None) -> None:
        super().__init__(message)
        self.field = field
        self.value = value

    def __str__(self) -> str:
        return self.shown_as(lambda field: field.replace("_", "-"))

    def shown_as(self, name_of: Callable[[str], str]) -> str:
        """The message after the setting and its value, the setting named by `name_of`."""
        message = str(self.args[0])
        if self.field is None:
            return message
        value = "" if self.value is None else f" {self.value}"
        return f"{name_of(self.field)}{value}: {message}"


class BadImages(PapagaioError):
    """A source of images is missing, broken, or does not fit the contract."""


class BadAnswer(PapagaioError):
    """The black box raised, or returned what its contract does not allow."""


class NoAnswer(BadAnswer):
    """A service failed, or stopped answering."""

    exit_code = 1


class BadSettings(PapagaioError):
    """An option, a name or a configuration file is wrong."""


class BadLedger(PapagaioError):
    """A file is not a ledger, or its contents contradict each other."""


class Busy(PapagaioError):
    """Another process works on the same run directory or ledger."""


class NoSpace(PapagaioError):
    """The disk is full."""


class Lost(PapagaioError):
    """A cluster lost its machines, or a training its worker more than once."""

    exit_code = 1


class Diverged(PapagaioError):
    """The loss of a training stopped being finite."""

    exit_code = 1


class GateFailed(PapagaioError):
    """A rule about a run does not hold, or is not decided where it has to be."""

    exit_code = 10
