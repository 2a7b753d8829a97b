"""Papagaio's own errors, drawn once.

* PapagaioError: the user can mend it; the message says what, where and what to do.
  The command line prints it as one line and exits with 2.

  * BadImages: a source of images is missing, broken, or does not fit the contract.
  * BadAnswer: the black box raised, or returned what its contract does not allow.
  * BadSettings: an option, a name or a configuration file is wrong.
  * BadLedger: a ledger file is not one, or its contents disagree with themselves.
  * Busy: another process works on the same run directory or ledger.
  * NoSpace: the disk is full.

* Diverged: a training's loss stopped being finite. Nothing the user typed is wrong, so the
  command line exits with 1.
"""

__all__ = [
    "BadAnswer",
    "BadImages",
    "BadLedger",
    "BadSettings",
    "Busy",
    "Diverged",
    "NoSpace",
    "PapagaioError",
]


class PapagaioError(Exception):
    """Something the user can fix.

    Attributes:
        field: the settings field at fault, such as `data_dir`, or None.
    """

    def __init__(self, message: str = "", *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class BadImages(PapagaioError):
    """A source of images is missing, broken, or does not fit the contract."""


class BadAnswer(PapagaioError):
    """The black box raised, or returned what its contract does not allow."""


class BadSettings(PapagaioError):
    """An option, a name or a configuration file is wrong."""


class BadLedger(PapagaioError):
    """A ledger file is not one, or its contents disagree with themselves."""


class Busy(PapagaioError):
    """Another process works on the same run directory or ledger."""


class NoSpace(PapagaioError):
    """The disk is full."""


class Diverged(RuntimeError):
    """A training's loss stopped being finite."""
