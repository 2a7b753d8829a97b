"""A Python function that the user names: `package.module:function` or `file.py:function`."""

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from papagaio.errors import BadSettings

__all__ = ["Imported", "import_function"]


@dataclass(frozen=True)
class Imported:
    """A function, and the digest of its file and name (hexadecimal SHA-256)."""

    function: Callable[..., Any]
    digest: str


def import_function(spec: str) -> Imported:
    """Run the module that `spec` names, and take the function from it.

    The module may import those next to its file. As always in Python, a process imports each
    name only once.

    Raises:
        BadSettings: no such file, module or function, or the module raised while it was imported.
    """
    where, colon, name = spec.rpartition(":")
    if not colon or not where or not name.isidentifier():
        raise BadSettings(f"{spec}: write package.module:function or file.py:function")
    module = _module_of_file(Path(where)) if where.endswith(".py") else _module_of_name(where)
    function = getattr(module, name, None)
    if not callable(function):
        functions = [n for n, v in vars(module).items() if inspect.isfunction(v)]
        raise BadSettings(
            f"{where} has no function {name}; it has: {', '.join(functions) or 'none'}"
        )
    file = getattr(module, "__file__", None)
    source = Path(file).read_bytes() if file else b""
    return Imported(function, hashlib.sha256(source + name.encode()).hexdigest())


def _module_of_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise BadSettings(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise BadSettings(f"{path}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    # Modules beside the file are found, as when Python runs the file itself.
    sys.path.insert(0, str(path.resolve().parent))
    # Dataclasses look their module up by its name.
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever the owner's code raises
        raise BadSettings(f"{path}: could not be run ({type(error).__name__}: {error})") from error
    return module


def _module_of_name(name: str) -> ModuleType:
    # Found in the current folder too; last, so that no file there hides another package's module.
    sys.path.append(str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # whatever the owner's code raises
        raise BadSettings(
            f"{name}: could not be imported ({type(error).__name__}: {error})"
        ) from error
