import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import BOX, Papagaio, Tiny
from hypothesis import given
from hypothesis import strategies as st

from papagaio.auditing.plan import AttackConfig, attack_configs
from papagaio.blackboxes.contract import Contract
from papagaio.controls import CONTROLS
from papagaio.errors import BadSettings
from papagaio.options import read_toml, to_toml, validated
from papagaio.settings import Settings
from papagaio.training.recipe import Recipe
from papagaio.vocabulary import AUGMENTATION_NAMES, RESPONSES

NEEDED: dict[str, Any] = {
    "black-box": "box.py:predict",
    "transfer": "letters",
    "test": "digits",
    "budget": 100,
    "out": "runs/one",
}
WORDS = st.text(st.characters(exclude_categories=["Cs", "Cc"], max_codepoint=0xFFFF))


CONTROL_NAMES = tuple(control.name for control in CONTROLS)


def settings_of(values: dict[str, Any]) -> Settings:
    return validated(Settings, values, lambda name: f"somewhere: {name}")


def round_trip(settings: Settings, folder: Path) -> Settings:
    path = folder / "config.toml"
    path.write_text(to_toml(settings), encoding="utf-8")
    return settings_of(read_toml(path))


def test_defaults_are_those_that_the_help_names() -> None:
    settings = settings_of(NEEDED)
    assert settings.responses == ()
    assert settings.controls == CONTROL_NAMES
    assert settings.seeds == (0,)
    assert (settings.batch, settings.workers, settings.checkpoint_seconds) == (64, 1, 10)
    assert (settings.device, settings.precision, settings.initial) == ("auto", "auto", "random")
    assert (settings.resize, settings.colour) == ("exact", "exact")
    assert settings.curve == (100,)
    assert settings.ledger_path == Path("runs/one/ledger.sqlite")


def test_the_curve_is_sorted_and_ends_at_the_budget() -> None:
    settings = settings_of({**NEEDED, "budgets": [50, 10, 50]})
    assert settings.curve == (10, 50, 100)


def test_one_value_may_stand_where_several_may() -> None:
    settings = settings_of({**NEEDED, "seeds": 3, "responses": "label"})
    assert settings.seeds == (3,)
    assert settings.responses == ("label",)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"colour": "sepia"}, "colour"),
        ({"batch": 0}, "batch"),
        ({"classes": 1}, "classes"),
        ({"input": "32x32"}, "input"),
        ({"input": "32x32x4"}, "input"),
        ({"seeds": []}, "seeds"),
        ({"seeds": ["zero"]}, "seeds"),
        ({"seeds": [-1]}, "seeds"),
        ({"augmentation": ["twirl"]}, "augmentation"),
        ({"price-per-1000": -1}, "price-per-1000"),
        ({"budgets": [0]}, "budgets"),
        ({"bugdet": 3}, "bugdet"),
    ],
)
def test_a_setting_out_of_range_is_named(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(BadSettings, match=rf"^somewhere: {named}"):
        settings_of({**NEEDED, **changes})


ANY_SETTINGS = st.fixed_dictionaries(
    {
        "authorised-by": WORDS,
        "seeds": st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=3),
        "responses": st.lists(st.sampled_from(RESPONSES), min_size=1, max_size=3),
        "controls": st.lists(st.sampled_from(CONTROL_NAMES), max_size=3),
        "price-per-1000": st.none() | st.floats(0, 1e6),
        "augmentation": st.none() | st.lists(st.sampled_from(["crop", "flip"]), max_size=2),
        "weights": st.just('weights/of "mine".safetensors'),
    }
)


@given(ANY_SETTINGS)
def test_toml_gives_the_same_settings_back(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    settings = settings_of({**NEEDED, **values})
    assert round_trip(settings, tmp_path_factory.getbasetemp()) == settings


def test_toml_gives_characters_beyond_the_first_plane_back(tmp_path: Path) -> None:
    settings = settings_of({**NEEDED, "authorised-by": "a parrot: \U0001f99c"})
    assert round_trip(settings, tmp_path) == settings


def test_a_flag_wins_over_the_file(tiny: Tiny, papagaio: Papagaio, tmp_path: Path) -> None:
    config = tmp_path / "audit.toml"
    config.write_text('budget = 5\nresponses = ["label"]\nseeds = [7, 8]\n')
    ended = papagaio(*tiny.audit(config=config, budget=9, responses="top-1"), "--dry-run")
    assert ended.code == 0, ended.stderr
    resolved = ended.stdout.splitlines()
    assert "budget = 9" in resolved
    assert 'responses = ["top-1"]' in resolved
    assert "seeds = [7, 8]" in resolved
    # Defaults stand there as well: a later version's may be others.
    assert 'initial = "random"' in resolved


def test_a_dry_run_says_what_would_be_asked_and_asks_nothing(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    before = sorted(tiny.folder.glob("*.*"))
    command = tiny.audit(budgets="4,8", seeds="0,1", controls="shuffled,noise")
    ended = papagaio(*command, "--dry-run")
    assert ended.code == 0, ended.stderr
    assert tiny.asked() == []
    assert sorted(tiny.folder.glob("*.*")) == before
    lines = ended.stdout.splitlines()
    assert "# queries to send about transfer images: 12" in lines
    assert "# queries to send about test images: 9" in lines
    assert "# queries to send about noise images: 12" in lines
    assert "# test images to send again, as canaries: 4" in lines
    assert "# queries to send in all: 37" in lines
    # Three budgets and two controls, with two seeds each.
    assert "# trainings: 10" in lines


def test_the_output_of_a_dry_run_is_a_configuration(
    tiny: Tiny, papagaio: Papagaio, tmp_path: Path
) -> None:
    first = papagaio(*tiny.audit(), "--dry-run")
    config = tmp_path / "resolved.toml"
    config.write_text(first.stdout)
    again = papagaio("audit", f"--config={config}", "--dry-run")
    assert again.code == 0, again.stderr
    assert again.stdout == first.stdout


def test_a_dry_run_after_the_audit_has_nothing_left_to_ask(tiny: Tiny, papagaio: Papagaio) -> None:
    ended = papagaio(*tiny.audit())
    assert ended.code == 0, ended.stderr
    assert sum(tiny.asked()) == 23
    again = papagaio(*tiny.audit(), "--dry-run")
    assert "# queries to send in all: 0" in again.stdout.splitlines()
    assert sum(tiny.asked()) == 23


GREY = Contract(8, 8, 1, classes=3)


def attacks(**more: object) -> list[AttackConfig]:
    values = {**NEEDED, "responses": ["probabilities", "label"], **more}
    return attack_configs(settings_of(values), GREY)


def test_every_response_has_every_recipe_or_the_one_that_suits_it() -> None:
    def names(**more: object) -> list[tuple[str, str]]:
        return [(attack.response, attack.recipe.name) for attack in attacks(**more)]

    assert names() == [("probabilities", "auto"), ("label", "auto")]
    assert [attack.recipe.loss for attack in attacks()] == ["centred-l2", "cross-entropy"]
    assert names(recipes=["thesis", "labels"]) == [
        (response, name) for response in ("probabilities", "label") for name in ("thesis", "labels")
    ]


def test_without_responses_copies_see_what_the_black_box_shows() -> None:
    contract = replace(GREY, response="top-3")
    (attack,) = attack_configs(settings_of(NEEDED), contract)
    assert (attack.response, attack.recipe.loss) == ("top-3", "censored-l2")


def test_a_response_that_the_black_box_never_shows_is_refused_before_anything_is_asked() -> None:
    contract = replace(GREY, response="label")
    with pytest.raises(BadSettings, match=r"responses probabilities: .* shows label only"):
        attack_configs(settings_of({**NEEDED, "responses": ["probabilities"]}), contract)


def test_epochs_and_augmentation_are_changed_in_every_recipe() -> None:
    def recipes(**more: object) -> list[Recipe]:
        return [attack.recipe for attack in attacks(**more)]

    plain = recipes()
    # A number of epochs holds: the least number of steps, which each of these has, goes with it.
    assert all(recipe.least_steps for recipe in plain)
    assert recipes(epochs=3) == [replace(recipe, epochs_given=3) for recipe in plain]
    assert {recipe.epochs_for(50) for recipe in recipes(epochs=3)} == {3}
    assert recipes(minutes=3) == [replace(recipe, minutes=3.0) for recipe in plain]
    with pytest.raises(BadSettings, match=r"minutes 3: .* leave out epochs"):
        recipes(minutes=3, epochs=3)
    for wanted in (AUGMENTATION_NAMES[:1], ()):
        assert recipes(augmentation=list(wanted)) == [
            replace(recipe, augmentation=wanted, rounds=()) for recipe in plain
        ]


def test_a_dry_run_says_what_its_queries_cost(tiny: Tiny, papagaio: Papagaio) -> None:
    ended = papagaio(*tiny.audit(price_per_1000=2), "--dry-run")
    # 12 transfer images, 9 test images and two canaries.
    assert "# price of these queries: 0.05" in ended.stdout.splitlines()
    assert "price" not in papagaio(*tiny.audit(), "--dry-run").stdout


def test_a_dry_run_after_the_file_changed_names_the_identity_of_the_answers_it_has(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    assert papagaio(*tiny.audit()).code == 0
    tiny.box(f"# A comment is enough.\n{BOX}")
    ended = papagaio(*tiny.audit(), "--dry-run")
    assert "# queries to send in all: 23" in ended.stdout.splitlines()
    named = re.search(r"21 answers of another identity, (function-sha256:\w{64})", ended.stdout)
    assert named
    again = papagaio(*tiny.audit(identity=named[1]), "--dry-run")
    assert "# queries to send in all: 0" in again.stdout.splitlines()
