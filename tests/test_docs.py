"""The documentation: commands are valid, links resolve, numbers are those of the results."""

import importlib.util
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from test_structure import PACKAGE, ROOMS
from typer.main import get_command

from papagaio.blackboxes.contract import Declaration
from papagaio.cli.main import app
from papagaio.errors import BadSettings
from papagaio.gating.settings import GateOptions
from papagaio.options import OptionSet, validated
from papagaio.serving.settings import ServeOptions
from papagaio.settings import BlackBoxOptions, CheckOptions, EstimateOptions, Settings
from papagaio.teaching.settings import TeachSettings
from papagaio_thesis.settings import ReproduceSettings

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
FILES = [*sorted(ROOT.glob("*.md")), *PAGES]
# A changelog also names what no longer exists.
CURRENT = [path for path in FILES if path.name != "CHANGELOG.md"]

_FENCE = re.compile(r"^(```+).*?^\1`*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)


def name_in(path: Path) -> str:
    return str(path.relative_to(ROOT))


# commands


def blocks(text: str) -> Iterator[str]:
    """Lines of indented and of shell code blocks, continuation lines joined."""
    joined = text.replace("\\\n", " ")
    for line in joined.splitlines():
        if line.startswith("    ") and not line.strip().startswith(("*", "-", "|")):
            yield line.strip()
    for fence in re.findall(r"^```(?:sh|console)\n(.*?)^```", joined, re.MULTILINE | re.DOTALL):
        yield from (line.removeprefix("$ ") for line in fence.splitlines())


def inline(text: str) -> Iterator[str]:
    yield from re.findall(r"`([^`\n]+)`", _FENCE.sub("", text))


def commands(kind: Any) -> list[Any]:  # noqa: ANN401
    return [
        pytest.param(line, id=f"{name_in(path)}: {line}")
        for path in CURRENT
        for line in dict.fromkeys(kind(path.read_text(encoding="utf-8")))
        if line.split(" ")[0] in ("papagaio", "make", "python")
    ]


def resolve(words: list[str]) -> tuple[Any, list[str], Any]:
    """The command that words name, the words left for it, and its parent's context."""
    command: Any = get_command(app)
    context = None
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        context = command.context_class(command, info_name="papagaio", parent=context)
        assert words[0] in command.commands, f"no such command: {words[0]}"
        command, words = command.commands[words[0]], words[1:]
    return command, words, context


def check_other(words: list[str]) -> None:
    """A Makefile target or a script exists."""
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in words[1:])
    elif words[1].endswith(".py"):
        assert (ROOT / words[1]).is_file()


SETTINGS: dict[str, type[OptionSet]] = {
    "audit": Settings,
    "check": CheckOptions,
    "estimate": EstimateOptions,
    "gate": GateOptions,
    "questions": Settings,
    "serve": ServeOptions,
    "teach": TeachSettings,
    "thesis": ReproduceSettings,
}


def check_settings(command: str, values: dict[str, Any]) -> None:
    """The values of a command's options are valid and complete."""
    model = SETTINGS.get(command)
    if model is None or values["config"]:
        return
    given = {
        name.replace("_", "-"): value
        for name, value in values.items()
        if name in model.model_fields and value not in (None, False, [], ())
    }
    settings = validated(model, given)
    if isinstance(settings, BlackBoxOptions) and ".py:" in settings.black_box:
        Declaration(settings.shape, settings.classes).contract(settings.black_box)


@pytest.mark.parametrize("line", commands(blocks))
def test_every_command_of_a_code_block_is_valid(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] != "papagaio":
        check_other(words)
        return
    command, rest, parent = resolve(words[1:])
    # Runs nothing.
    context = command.make_context(command.name, rest, parent=parent)
    check_settings(command.name, context.params)


@pytest.mark.parametrize("line", commands(inline))
def test_every_command_in_a_sentence_has_known_names(line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] != "papagaio":
        check_other(words)
        return
    command, rest, parent = resolve([word for word in words[1:] if word != "COMMAND"])
    context = command.context_class(command, info_name=command.name, parent=parent)
    command.make_parser(context).parse_args(args=rest)


def options(command: Any) -> set[str]:  # noqa: ANN401
    """The options of a command and of all its subcommands."""
    own = {name for parameter in command.params for name in parameter.opts}
    return own.union(*map(options, getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("path", CURRENT, ids=name_in)
def test_every_option_in_a_sentence_exists(path: Path) -> None:
    named = {one.split()[0] for one in inline(path.read_text(encoding="utf-8")) if one[:2] == "--"}
    assert named <= options(get_command(app))


def test_a_wrong_or_missing_value_would_fail() -> None:
    line = "my.py:f --input 8x8x1 --transfer a --test b --budget 5 --classes"
    words = shlex.split(line)
    command, _, parent = resolve(["audit"])
    for rest in ([*words, "10", "--resize", "squeeze"], words[:-1]):
        context = command.make_context(command.name, rest, parent=parent)
        with pytest.raises(BadSettings, match=r"resize|classes"):
            check_settings(command.name, context.params)


def test_an_unknown_option_or_command_would_fail() -> None:
    with pytest.raises(AssertionError, match="no such command"):
        resolve(["copy"])
    command, rest, context = resolve(["audit", "box.py:f", "--budgett", "5"])
    with pytest.raises(Exception, match="No such option"):
        command.make_context(command.name, rest, parent=context)


# links


def slug(heading: str) -> str:
    """The anchor that MkDocs and GitHub give a heading."""
    text = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


@cache
def anchors(path: Path) -> set[str]:
    return {slug(one) for one in _HEADING.findall(_FENCE.sub("", path.read_text(encoding="utf-8")))}


@pytest.mark.parametrize("path", FILES, ids=name_in)
def test_every_link_and_image_resolves(path: Path) -> None:
    text = _FENCE.sub("", path.read_text(encoding="utf-8"))
    for target in _LINK.findall(text):
        if target.startswith(("https://", "mailto:")):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.is_file(), target
        assert not anchor or anchor in anchors(found), target


def test_the_navigation_names_every_page_once() -> None:
    config = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r"^ +- .+: (\S+\.md)$", config, re.MULTILINE)
    assert sorted(named) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 90


# the structure


def test_the_listing_has_every_module_in_the_order_of_imports() -> None:
    listing = (DOCS / "design.md").read_text(encoding="utf-8").partition("src/papagaio_thesis/")[0]
    named = re.findall(r"^  (\w+)(?:\.py|/) ", listing, re.MULTILINE)
    assert tuple(named) == ROOMS
    images = sorted(path.name for path in (PACKAGE / "images").glob("[!_]*.py"))
    assert not [name for name in images if name not in listing]


def test_every_answer_to_the_ten_questions_is_a_file() -> None:
    questions = (DOCS / "design.md").read_text(encoding="utf-8").partition("## Ten questions")[2]
    answers = re.findall(r"^\| .+\? \| `(\S+)` \|$", questions, re.MULTILINE)
    assert len(answers) == 10
    assert all((PACKAGE / answer).is_file() for answer in answers)


# generated text


@pytest.fixture(scope="module")
def results() -> ModuleType:
    return script("results")


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", PAGES, ids=name_in)
def test_tables_and_verdicts_are_those_of_the_stored_results(
    path: Path, results: ModuleType
) -> None:
    text = path.read_text(encoding="utf-8")
    assert text == results.refreshed(text), "stale: run python docs/results.py"


def test_every_claim_and_every_measured_table_is_shown(results: ModuleType) -> None:
    shown = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    for name in results.blocks():
        # The same teacher as in full.
        if name not in {"table 1 full-imagenet", "table 1 stand-in-small"}:
            assert f"<!-- from results: {name} -->" in shown, name


def test_the_reference_names_every_command_option_and_field() -> None:
    hooks = script("hooks")
    reference = hooks.commands_reference()
    for path in ("papagaio audit", "papagaio ledger verify", "papagaio reproduce thesis"):
        assert f"## `{path}`" in reference
    command, _, context = resolve(["audit"])
    for parameter in command.get_params(context):
        is_argument = parameter.param_type_name == "argument"
        names = [parameter.metavar] if is_argument else parameter.opts
        assert all(f">{name}" in reference or f" {name}" in reference for name in names), names
    # Rich's escapes are not for readers.
    assert "\\\\" not in reference
    assert "## Figure" in hooks.schema_reference()
    assert "::: papagaio.audit" in hooks.python_reference()


def test_a_page_that_loads_from_outside_is_refused() -> None:
    hooks = script("hooks")
    page = type("Page", (), {"file": type("File", (), {"src_uri": "index.md"})})
    fine = '<a href="https://example.org">a link</a><script src="assets/own.js"></script>'
    assert hooks.on_post_page(fine, page) == fine
    with pytest.raises(ValueError, match=r"index\.md"):
        hooks.on_post_page('<script src="https://example.org/x.js"></script>', page)
