"""Options are defined once: command line, files, help and errors follow from the model."""

from pathlib import Path
from typing import Annotated, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from papagaio.cli.options import command
from papagaio.errors import BadSettings
from papagaio.options import Many, Option, OptionSet, to_toml, validated
from papagaio.settings import AuditOptions, Settings
from papagaio.teaching.settings import TeachSettings


class Bread(OptionSet):
    """Settings of a baker."""

    flour: Annotated[str, Option("Dough", "KIND", positional=True)]
    """What it is made of."""

    grams: Annotated[int, Option("Dough", "N")] = Field(500, ge=1)
    """How much of it."""

    crust: Annotated[Literal["soft", "hard"], Option("Oven")] = "soft"
    """How it ends [really]."""

    seeds: Annotated[Many[str], Option("Oven", "SEED,...|none", also="seed")] = ("poppy",)
    """What lies on top."""

    dark: Annotated[bool, Option("Oven")] = False
    """Whether it stays longer."""

    folds: Annotated[tuple[str, ...], Option("Dough", "TURNS", repeated=True, also="fold")] = ()
    """One fold each."""


baked: list[tuple[Bread, int]] = []


def bake(bread: Bread, loaves: Annotated[int, typer.Option(help="How many.")] = 1) -> None:
    """Bake bread.

    It takes
    an hour.
    """
    baked.append((bread, loaves))


@pytest.fixture
def app() -> typer.Typer:
    baked.clear()
    made = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)
    made.command("bake")(command(Bread, bake))
    return made


def run(app: typer.Typer, *words: str) -> str:
    result = CliRunner(env={"COLUMNS": "120"}).invoke(app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


def test_every_field_is_an_option_with_its_type_and_default(app: typer.Typer) -> None:
    words = ["rye", "--grams", "700", "--crust=hard", "--seed", "oat,flax,oat", "--dark"]
    run(app, *words, "--fold", "1,2", "--fold", "3", "--loaves", "4")
    bread = Bread(
        flour="rye",
        grams=700,
        crust="hard",
        seeds=("oat", "flax"),
        dark=True,
        folds=("1,2", "3"),
    )
    assert baked == [(bread, 4)]
    run(app, "rye")
    assert baked[1] == (Bread(flour="rye"), 1)
    run(app, "rye", "--seeds", "none")
    assert baked[2][0].seeds == ()


def test_help_shows_groups_descriptions_and_defaults(app: typer.Typer) -> None:
    shown = run(app, "--help")
    dough, oven = shown.index("─ Dough ─"), shown.index("─ Oven ─")
    assert dough < shown.index("--grams") < oven < shown.index("--crust")
    assert "What it is made of." in shown
    assert "How it ends [really]. [default: soft]" in shown
    assert "soft|hard" in shown
    assert "[default: 500]" in shown
    assert "What lies on top. [default: poppy]" in shown
    assert "It takes an hour." in shown


def test_the_command_line_wins_over_a_file(app: typer.Typer, tmp_path: Path) -> None:
    file = tmp_path / "bread.toml"
    file.write_text('flour = "rye"\ngrams = 3\nseeds = ["oat"]\ndark = true\n')
    run(app, f"--config={file}", "--grams=4")
    assert baked[0][0] == Bread(flour="rye", grams=4, seeds=("oat",), dark=True)


def test_every_mistake_is_named_by_its_flag_or_by_its_place_in_the_file(
    app: typer.Typer, tmp_path: Path
) -> None:
    file = tmp_path / "bread.toml"
    file.write_text('flour = "rye"\ngrams = 0\nflower = 1\n')
    with pytest.raises(BadSettings) as mistake:
        run(app, f"--config={file}", "--crust=burnt")
    said = str(mistake.value)
    assert f"{file}: grams 0: should be greater than or equal to 1" in said
    assert f"{file}: flower 1: no such option" in said
    assert "--crust burnt: should be 'soft' or 'hard'" in said


def test_a_missing_argument_is_named(app: typer.Typer) -> None:
    with pytest.raises(BadSettings, match=r"^KIND: is required"):
        run(app)


def test_toml_gives_the_settings_back(tmp_path: Path) -> None:
    bread = Bread(flour='rye "dark"', seeds=(), folds=("1,2",))
    file = tmp_path / "bread.toml"
    file.write_text(to_toml(bread), encoding="utf-8")
    from papagaio.options import read_toml  # noqa: PLC0415  # beside its use

    assert validated(Bread, read_toml(file)) == bread


@pytest.mark.parametrize("model", [AuditOptions, Settings, TeachSettings])
def test_every_setting_has_a_group_and_a_description(model: type[OptionSet]) -> None:
    for name, field in model.model_fields.items():
        assert [one for one in field.metadata if isinstance(one, Option)], name
        assert field.description, name
        assert field.description.rstrip().endswith("."), name
