"""The house: which room imports which, what is public, what the command line loads."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import papagaio
from papagaio import errors

PACKAGE = Path(papagaio.__file__).parent

# From the bottom to the top; a room imports only rooms above it in this list.
ROOMS = (
    "errors",
    "version",
    "vocabulary",
    "cache",
    "hardware",
    "files",
    "progress",
    "jobs",
    "options",
    "executors",
    "controls",
    "settings",
    "weights",
    "images",
    "responses",
    "recognising",
    "blackboxes",
    "ledger_schema",
    "ledger",
    "ledger_import",
    "canaries",
    "asking",
    "networks",
    "training",
    "scores",
    "learning_curve",
    "standards",
    "result",
    "summary",
    "numbers",
    "findings",
    "verdict",
    "gating",
    "report",
    "comparing",
    "tracking",
    "auditing",
    "testing",
    "teaching",
    "serving",
    "demo",
    "cli",
)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else "papagaio"


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.startswith("papagaio.")}


def test_every_room_is_in_the_list() -> None:
    names = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert names - {"__init__", "__main__"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_that_come_before_it(room: str) -> None:
    paths = [PACKAGE / f"{room}.py"] if (PACKAGE / f"{room}.py").exists() else []
    paths += sorted((PACKAGE / room).rglob("*.py"))
    allowed = {*ROOMS[: ROOMS.index(room) + 1]}
    for path in paths:
        rooms = {room_of(name) for name in imports_of(path)}
        assert rooms <= allowed, f"{path.name} imports {rooms - allowed}"


def test_every_public_name_can_be_imported_and_is_typed() -> None:
    source = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    for name in set(papagaio.__all__) - {"__version__"}:
        found = getattr(papagaio, name)
        assert found.__name__ == name
        # A module of that name, once imported, would replace it.
        assert getattr(papagaio, name) is found
        assert name not in ROOMS
        assert f"import {name} as {name}" in source
    assert (PACKAGE / "py.typed").exists()


def test_every_error_can_be_imported_from_the_package() -> None:
    own = {
        name
        for name, one in vars(errors).items()
        if isinstance(one, type) and issubclass(one, Exception)
    }
    assert own <= set(errors.__all__)
    assert own <= set(papagaio.__all__)


def test_settings_name_their_defaults() -> None:
    # Another project's type checker takes a setting for required otherwise: make package.
    for path in PACKAGE.rglob("*.py"):
        if "OptionSet" in (source := path.read_text(encoding="utf-8")):
            for node in ast.walk(ast.parse(source)):
                if isinstance(node, ast.Call) and ast.unparse(node.func) == "Field":
                    assert not node.args, f"{path.name}: {ast.unparse(node)}"


def test_the_product_does_not_know_the_study_on_top_of_it() -> None:
    for path in PACKAGE.rglob("*.py"):
        assert "papagaio_thesis" not in path.read_text(encoding="utf-8"), path


def test_an_unknown_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="parrot"):
        papagaio.parrot  # type: ignore[attr-defined]  # noqa: B018


def test_help_loads_no_torch_and_says_the_verbs() -> None:
    code = (
        "import sys; sys.argv = ['papagaio', '--help']\n"
        "from papagaio.cli.main import app\n"
        "app(standalone_mode=False)\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for verb in ("demo", "teach", "audit", "report", "reproduce", "ledger", "doctor"):
        assert verb in done.stdout


def test_nothing_unpickles_or_evaluates() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec"), path
                keywords = {k.arg: ast.unparse(k.value) for k in node.keywords}
                assert called != "torch.load" or keywords["weights_only"] == "True", path
                assert keywords.get("allow_pickle", "False") == "False", path
        assert "import pickle" not in path.read_text(encoding="utf-8")
