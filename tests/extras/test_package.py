"""The built package, from outside: make package builds it first."""

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import papagaio

ROOT = Path(__file__).parents[2]
BUILT = ROOT / "build" / "dist"
WHEELS = sorted(BUILT.glob("*.whl"))

pytestmark = pytest.mark.skipif(
    len(WHEELS) != 1, reason="needs one wheel in build/dist: make package"
)

# As somebody would use the public interface, with every type stated.
PROJECT = """
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import papagaio as pg


def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.full((len(images), 2), 0.5, np.float32)


def fidelity_of(run: Path) -> float | None:
    result: pg.Result = pg.read_result(run / "result.json")
    figure: pg.Figure | None = result.summary[0].fidelity
    return None if figure is None else figure.value


declared = pg.Declaration((8, 8, 1), classes=2)
options = pg.AuditOptions(budget=10, out=Path("run"))
curve: tuple[int, ...] = options.curve
"""
# Whether torch's own types fit each other is not the question, and takes minutes.
SETTINGS = """
[mypy]
strict = True
[mypy-torch.*]
follow_imports = skip
"""
IMPORTS = "from pathlib import Path\nimport papagaio as pg\nfrom right import fidelity_of\n"
WRONG = {
    'pg.AuditOptions(budget="ten")': "arg-type",
    "fidelity_of(Path()) + 1": "operator",
    "pg.parrot": "attr-defined",
}


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment with the wheel, which sees the libraries of this one."""
    folder = tmp_path_factory.mktemp("outside")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    executable = folder / "bin" / "python"
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    said_by(executable, *install, *WHEELS, at=folder)
    (site,) = folder.glob("lib/python*/site-packages")
    libraries = [one for one in sys.path if one.endswith("site-packages")]
    (site / "libraries.pth").write_text("\n".join(libraries))
    return executable


def said_by(*command: object, at: Path) -> str:
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=at)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_installed_commands_run(python: Path, tmp_path: Path) -> None:
    home = said_by(python, "-c", "import papagaio; print(papagaio.__file__)", at=tmp_path)
    assert Path(home).is_relative_to(python.parents[1])
    expected = f"papagaio {papagaio.__version__}\n"
    assert said_by(python.with_name("papagaio"), "--version", at=tmp_path) == expected
    assert said_by(python, "-m", "papagaio", "--version", at=tmp_path) == expected
    said_by(python, "-m", "papagaio", "init", at=tmp_path)
    assert tomllib.loads((tmp_path / "audit.toml").read_text())["budget"] == 5000
    published = (ROOT / "docs" / "result.schema.json").read_text(encoding="utf-8")
    assert said_by(python, "-m", "papagaio", "schema", "result", at=tmp_path) == published
    # The study on top of it, with its own files.
    assert "thesis" in said_by(python, "-m", "papagaio", "reproduce", "--help", at=tmp_path)


def test_the_wheel_needs_no_compiler_and_holds_every_file_that_is_read() -> None:
    with zipfile.ZipFile(WHEELS[0]) as wheel:
        names = set(wheel.namelist())
    assert WHEELS[0].name.endswith("-py3-none-any.whl")
    packages = ("papagaio", "papagaio_thesis")
    source = {
        str(path.relative_to(ROOT / "src"))
        for package in packages
        for path in (ROOT / "src" / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {
        name for name in names if name.startswith(tuple(f"{one}/" for one in packages))
    } == source


def test_every_extra_stands_in_the_table(python: Path, tmp_path: Path) -> None:
    read = "metadata('papagaio').get_all('Provides-Extra')"
    code = f"from importlib.metadata import metadata; print(*{read})"
    extras = set(said_by(python, "-c", code, at=tmp_path).split())
    page = (ROOT / "docs" / "how-to" / "install.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ((?:`[a-z]+`(?:, )?)+) \|", page, re.MULTILINE)
    assert {name for cell in cells for name in re.findall("[a-z]+", cell)} == extras


def test_types_are_checked_from_outside(python: Path, tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(PROJECT)
    for number, (line, _) in enumerate(WRONG.items()):
        (tmp_path / f"wrong_{number}.py").write_text(f"{IMPORTS}{line}\n")
    # A configuration of its own: nothing of this checkout's.
    (tmp_path / "mypy.ini").write_text(SETTINGS)
    command = [sys.executable, "-m", "mypy", "--python-executable", python, "."]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    complaints = re.findall(r"^(\w+)\.py:\d+: error: .+\[([a-z-]+)\]$", done.stdout, re.MULTILINE)
    expected = {(f"wrong_{number}", code) for number, code in enumerate(WRONG.values())}
    assert set(complaints) == expected, done.stdout + done.stderr


def test_the_container_is_made_of_files_and_extras_that_exist() -> None:
    lines = (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines()
    copied = [line.split()[1:-1] for line in lines if line.startswith("COPY")]
    assert all((ROOT / name).exists() for names in copied for name in names)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (installed,) = (line for line in lines if line.startswith("RUN pip install '."))
    wanted = installed.partition("[")[2].partition("]")[0].split(",")
    assert set(wanted) <= set(project["optional-dependencies"])
    assert lines.index("USER papagaio") < lines.index('ENTRYPOINT ["papagaio"]')
