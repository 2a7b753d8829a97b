"""Rules about a run: what they say, what decides them, and what other programs read."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree as ET

import jsonschema
import pytest
import xmlschema
from conftest import Papagaio, Tiny
from example_results import AT_CHANCE, CEILING, FLOOR, HARDER_FLOOR, cell, figure, result
from markdown_it import MarkdownIt

from papagaio.errors import BadSettings
from papagaio.gating.formats import FORMATS
from papagaio.gating.outcomes import Gated, gate
from papagaio.gating.rules import METRICS, parse_rule
from papagaio.gating.settings import Format
from papagaio.result import CellRecord, Result, Scores, write_result
from papagaio.vocabulary import SCORES

DATA = Path(__file__).parent / "data"
PAIR = [cell(fidelity=0.5), cell(fidelity=0.5, seed=1)]
SHUFFLED = cell(kind=FLOOR.kind, fidelity=0.1)
HOSTILE = '|`*_<script>alert("x")</script>&amp;\x00\x1b[31m]]>\n# heading'
EVERY = [
    "fidelity <= 0.995 at 4000",
    "fidelity <= 0.80 at 4000",
    "warn accuracy < 0.5",
    "fidelity <= 0.989",
    "verdict <= moderate",
]


def gated(audited: Result, *rules: str, strict: bool = False, run: str = "runs/a") -> Gated:
    return gate(run, audited, [parse_rule(rule) for rule in rules], strict=strict)


def states(audited: Result, *rules: str) -> list[str]:
    return [outcome.state for outcome in gated(audited, *rules).outcomes]


@pytest.fixture
def every() -> Gated:
    return gated(result([cell(fidelity=0.985)]), *EVERY)


# what a rule says


def test_the_metrics_are_the_scores_of_a_copy_and_the_verdict() -> None:
    assert tuple(Scores.model_fields) == SCORES
    assert set(METRICS) == {*SCORES, "verdict"}


def test_a_rule_says_what_is_meant() -> None:
    rule = parse_rule("warn  relative_accuracy<0.9  at 5000 for label")
    assert (rule.severity, rule.metric, rule.comparison) == ("warn", "relative_accuracy", "<")
    assert (rule.limit, rule.budget, rule.response) == (0.9, 5000, "label")
    assert parse_rule("verdict <= moderate").limit == 1
    assert parse_rule("error kl > 0.1").text == "kl > 0.1"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("fidelty <= 0.8", "there are accuracy, .*verdict; did you mean fidelity?"),
        ("fidelity <= 80", "write 0.8 for 80 %"),
        ("fidelity <= most", "most is not a number"),
        ("fidelity <= nan", "nan is not a number"),
        ("fidelity = 0.8", "write METRIC <= NUMBER"),
        ("fidelity <= 0.8 at 5e3", "write METRIC <= NUMBER"),
        ("fidelity <= 0.8 for labels", "no such response; there are probabilities"),
        ("verdict <= harmless", "no such level; there are low, moderate, high, critical"),
        ("verdict <= low at 500", "leave out at and for"),
        (3, "write METRIC <= NUMBER"),
    ],
)
def test_a_rule_that_says_nothing_is_refused(text: object, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_rule(text)


# what decides it


@pytest.mark.parametrize(
    ("rule", "state"),
    [
        ("fidelity <= 0.81", "pass"),
        ("fidelity < 0.81", "not decided"),
        ("fidelity <= 0.80", "not decided"),
        ("fidelity <= 0.79", "not decided"),
        ("fidelity < 0.79", "fail"),
        ("fidelity <= 0.78", "fail"),
        ("fidelity >= 0.79", "pass"),
        ("fidelity > 0.79", "not decided"),
        ("fidelity > 0.81", "fail"),
    ],
)
def test_the_whole_interval_decides(rule: str, state: str) -> None:
    assert states(result([cell(fidelity=0.80)]), rule) == [state]


def test_one_copy_breaks_a_rule_and_every_copy_keeps_it() -> None:
    cells = [cell(fidelity=0.7), cell(fidelity=0.9, recipe="thesis")]
    (outcome,) = gated(result(cells), "fidelity <= 0.8").outcomes
    assert outcome.state == "fail"
    assert "thesis" in outcome.reason
    assert states(result(cells), "fidelity <= 0.92", "fidelity <= 0.9") == ["pass", "not decided"]
    # Floors and ceilings are no copies.
    controls = [cell(kind=FLOOR.kind, fidelity=1.0), cell(kind=CEILING.kind, fidelity=1.0)]
    assert states(result([*cells, *controls]), "fidelity <= 0.92") == ["pass"]


def test_a_budget_and_a_response_choose_the_copies() -> None:
    cells = [
        cell(budget=500, fidelity=0.6),
        cell(fidelity=0.9),
        cell(fidelity=0.7, response="label"),
    ]
    rules = ["fidelity < 0.65 at 500", "fidelity < 0.65", "fidelity < 0.75 for label"]
    assert states(result(cells), *rules) == ["pass", "fail", "pass"]
    # Who sees probabilities can use the label alone, but not the other way round.
    assert states(result(cells), "fidelity < 0.75 for probabilities") == ["fail"]


def test_what_was_not_measured_names_what_was() -> None:
    audited = result([cell(budget=500), cell()])
    with pytest.raises(BadSettings, match=r"budget 900 was not measured; the nearest is 500, of"):
        gated(audited, "fidelity < 1 at 900")
    with pytest.raises(BadSettings, match="no copy learns from label, but from probabilities"):
        gated(audited, "fidelity < 1 for label")
    unscored = result([cell(scores=Scores(fidelity=figure(0.5)))])
    (outcome,) = gated(unscored, "accuracy < 0.9").outcomes
    assert (outcome.state, outcome.reason) == ("not decided", "accuracy: was not measured")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"complete": False}, "1 training of 4 not ended"),
        (
            {"complete": False, "diverged": [{"id": "copy_labels", "reason": "nan"}]},
            "1 training of copies diverged",
        ),
    ],
)
def test_no_rule_holds_before_every_copy_has_ended_but_one_may_fail(
    changes: dict[str, Any], reason: str
) -> None:
    audited = result([*PAIR, SHUFFLED], **{"trainings": 4, **changes})
    rules = ["fidelity <= 0.8", "fidelity <= 0.1", "verdict <= moderate"]
    assert states(audited, *rules) == ["not decided", "fail", "not decided"]
    assert reason in gated(audited, *rules).outcomes[0].reason
    assert len(gated(audited, *rules).failures) == 1
    assert len(gated(audited, *rules, strict=True).failures) == 3


def test_what_diverged_besides_copies_is_no_doubt() -> None:
    lost = [{"id": f"{kind}_labels", "reason": "nan"} for kind in ("ceiling-own", "distilled")]
    audited = result([*PAIR, SHUFFLED], complete=False, diverged=lost, trainings=5)
    rules = ["fidelity <= 0.8", "verdict <= moderate", "verdict > moderate"]
    assert states(audited, *rules) == ["pass", "pass", "fail"]


def test_nothing_is_decided_about_a_black_box_that_does_not_work() -> None:
    audited = result([*PAIR, SHUFFLED], black_box=AT_CHANCE)
    rules = ["fidelity <= 0.8", "fidelity <= 0.1", "verdict <= low"]
    assert states(audited, *rules) == ["not decided"] * 3
    assert "no better than always naming" in gated(audited, *rules).outcomes[0].reason


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([cell(fidelity=0.4, undertrained=True)], "that copy is undertrained"),
        (
            [cell(fidelity=0.4), cell(kind=HARDER_FLOOR.kind, fidelity=0.7)],
            "answers about random images",
        ),
    ],
)
def test_no_rule_that_keeps_copies_poor_holds_by_a_figure_that_is_a_lower_bound(
    cells: list[CellRecord], reason: str
) -> None:
    audited = result([*cells, SHUFFLED])
    rules = ["fidelity <= 0.5", "fidelity <= 0.3", "fidelity >= 0.3", "kl >= 0.01", "kl <= 0.1"]
    assert states(audited, *rules) == ["not decided", "fail", "pass", "not decided", "pass"]
    assert reason in gated(audited, *rules).outcomes[0].reason
    # As bad as low, and maybe as bad as critical.
    rules = ["verdict <= moderate", "verdict >= low"]
    assert states(audited, *rules) == ["not decided", "pass"]
    better = result([cell(fidelity=0.9, undertrained=True), SHUFFLED])
    assert states(better, "verdict <= moderate", "verdict <= high") == ["fail", "not decided"]


def test_answers_about_noise_from_the_whole_budget_say_nothing_about_a_smaller_one() -> None:
    noise = cell(kind=HARDER_FLOOR.kind, fidelity=0.7)
    audited = result([cell(fidelity=0.9), cell(fidelity=0.4, budget=500), noise])
    assert states(audited, "fidelity <= 0.5 at 500") == ["pass"]


def test_who_is_shown_labels_cannot_learn_from_other_answers_about_noise() -> None:
    noise = cell(kind=HARDER_FLOOR.kind, fidelity=0.7)
    copies = [cell(fidelity=0.9), cell(fidelity=0.4, response="label", recipe="labels")]
    audited = result([*copies, noise, SHUFFLED])
    assert states(audited, "fidelity <= 0.5 for label", "fidelity <= 0.95") == ["pass", "pass"]
    known = noise.model_copy(update={"response": "label"})
    assert states(result([*copies, known]), "fidelity <= 0.5 for label") == ["not decided"]


def test_a_planned_budget_that_is_not_trained_yet_is_not_decided() -> None:
    audited = result([], complete=False, trainings=2)
    assert states(audited, "fidelity <= 0.8 at 4000") == ["not decided"]


def test_the_level_of_the_verdict_decides_a_rule_about_it() -> None:
    floor = cell(kind=FLOOR.kind, fidelity=0.1)
    low, critical = (result([cell(fidelity=f), floor]) for f in (0.2, 0.99))
    assert states(low, "verdict <= moderate", "verdict > low") == ["pass", "fail"]
    assert states(critical, "verdict <= high", "verdict >= critical") == ["fail", "pass"]
    # From high to critical: the interval decides about each level.
    between = result([cell(fidelity=0.955), floor])
    rules = ("verdict <= moderate", "verdict <= high", "verdict >= high")
    assert states(between, *rules) == ["fail", "not decided", "pass"]
    assert gated(between, *rules).outcomes[0].measured == "high to critical"
    # Without a floor there is no verdict.
    assert states(result([cell(fidelity=0.99)]), *rules) == ["not decided"] * 3


def test_a_warning_fails_nothing_not_even_strictly(every: Gated) -> None:
    assert [outcome.rule.text for outcome in every.failures] == ["fidelity <= 0.80 at 4000"]
    strict = gated(every.result, *EVERY, strict=True)
    assert "accuracy < 0.5" not in {outcome.rule.text for outcome in strict.failures}


# what other programs read


def test_text_has_one_line_for_each_rule_as_columns(every: Gated) -> None:
    lines = [line.split("\t") for line in FORMATS["text"](every).splitlines()]
    assert [line[0] for line in lines] == ["pass", "fail", "warn", "not decided", "not decided"]
    assert lines[1][1:3] == ["fidelity <= 0.80 at 4000", "0.9850 (0.9750 to 0.9950)"]


def test_json_has_every_outcome_with_its_figure(every: Gated) -> None:
    read = json.loads(FORMATS["json"](every))
    assert read["passed"] is False
    assert [rule["outcome"] for rule in read["rules"]][:2] == ["pass", "fail"]
    assert read["rules"][1]["figure"] == {"value": 0.985, "low": 0.975, "high": 0.995, "n": 590}


@pytest.fixture(scope="module")
def junit_schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(DATA / "junit-10.xsd")


@pytest.mark.parametrize("strict", [False, True])
def test_junit_is_valid_and_counts_what_it_holds(
    strict: bool,  # noqa: FBT001
    junit_schema: xmlschema.XMLSchema,
) -> None:
    made = gated(result([cell(fidelity=0.985)]), *EVERY, strict=strict)
    text = FORMATS["junit"](made)
    junit_schema.validate(text)
    (suite,) = ET.fromstring(text.encode())  # noqa: S314
    counted = [str(len(suite.findall(f"testcase/{tag}"))) for tag in ("failure", "skipped")]
    assert [suite.get("failures"), suite.get("skipped")] == counted
    assert counted == (["3", "1"] if strict else ["1", "3"])


def test_sarif_is_valid_and_names_only_what_did_not_hold(every: Gated) -> None:
    schema = json.loads((DATA / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
    log = json.loads(FORMATS["sarif"](every))
    jsonschema.Draft4Validator(schema).validate(log)
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(rules) == 5
    found = [(one["kind"], one["level"]) for one in run["results"]]
    assert found == [("fail", "error"), ("fail", "warning"), ("open", "none"), ("open", "none")]
    assert all(rules[one["ruleIndex"]] == one["ruleId"] for one in run["results"])
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schema).validate({**log, "version": "2.0.0"})


def test_hostile_names_stay_text_in_every_format(junit_schema: xmlschema.XMLSchema) -> None:
    audited = result([cell(student=HOSTILE)], black_box={"name": HOSTILE})
    made = gated(audited, *EVERY, run=f"runs/{HOSTILE}")
    junit_schema.validate(FORMATS["junit"](made))
    schema = json.loads((DATA / "sarif-2.1.0-rtm.5.json").read_text(encoding="utf-8"))
    jsonschema.Draft4Validator(schema).validate(json.loads(FORMATS["sarif"](made)))
    assert len(FORMATS["text"](made).splitlines()) == 5
    summary = FORMATS["markdown"](made)
    assert "<" not in summary
    rows = [line for line in summary.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 5
    # A bar of a name would be a column.
    assert {row.count("|") for row in rows} == {5}
    assert [line for line in summary.splitlines() if line.startswith("#")] == [
        "## Model extraction gate: 1 of 5 rules failed"
    ]


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
def test_a_browser_shows_the_summary_of_a_job_with_hostile_names_as_text(tmp_path: Path) -> None:
    audited = result([cell(student=HOSTILE)], black_box={"name": HOSTILE})
    summary = FORMATS["markdown"](gated(audited, *EVERY))
    shown = MarkdownIt("commonmark", {"html": True}).enable("table").render(summary)
    count = "document.body.dataset.rows = document.querySelectorAll('table tr').length;"
    text = "document.body.dataset.text = document.querySelector('tr:nth-child(2) td:last-child')"
    page = tmp_path / "summary.html"
    page.write_text(
        f"<meta charset=utf-8>{shown}<script>{count}{text}.innerText</script>", encoding="utf-8"
    )
    switches = "headless no-sandbox disable-gpu no-first-run disable-background-networking"
    done = subprocess.run(
        [
            shutil.which("chromium") or "",
            *(f"--{switch}" for switch in switches.split()),
            f"--user-data-dir={tmp_path / 'browser'}",
            "--dump-dom",
            page.as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=120,
    )
    (body,) = re.findall("<body[^>]*>", done.stdout.decode())
    assert 'data-rows="6"' in body
    # The script of a name neither ran nor became an element.
    assert html.unescape(body).count('|`*_<script>alert("x")</script>&amp;') == 1


# the command


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_result(result([cell(fidelity=0.985), cell(budget=500)]), tmp_path / "run" / "result.json")
    return tmp_path / "run"


def test_the_exit_code_says_whether_a_rule_fails(run: Path, papagaio: Papagaio) -> None:
    fine = papagaio("gate", run, "--rule", "fidelity <= 1")
    assert (fine.code, fine.stderr) == (0, "")
    ended = papagaio("gate", run, "--rule", "fidelity <= 1", "--rule=fidelity <= 0.5 at 500")
    assert ended.code == 10
    assert ended.complaint == "papagaio: the gate fails: fidelity <= 0.5 at 500 (fail)"
    assert len(ended.stdout.splitlines()) == 2
    assert papagaio("gate", run, "--rule", "warn fidelity <= 0.5").code == 0
    undecided = ("gate", run, "--rule", "fidelity <= 0.985")
    assert papagaio(*undecided).code == 0
    assert papagaio(*undecided, "--strict").code == 10


def test_rules_come_from_a_file(run: Path, papagaio: Papagaio) -> None:
    file = run / "gate.toml"
    file.write_text('rules = ["fidelity <= 0.985", "warn accuracy < 0.1"]\nstrict = true\n')
    ended = papagaio("gate", run, "--config", file, "--json")
    assert ended.code == 10
    assert [one["outcome"] for one in json.loads(ended.stdout)["rules"]] == ["not decided", "fail"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--rule=fidelty < 1"], r"^papagaio: --rules fidelty < 1: no such metric; .*fidelity\?$"),
        (["--rule=fidelity < 1 at 550"], r"--rules fidelity < 1 at 550: .* the nearest is 500"),
        ([], r"--rules: is required"),
        (["--config=none.toml"], r"none.toml: rules \[\]: name at least one rule$"),
    ],
)
def test_a_mistake_is_one_line(
    words: list[str], complaint: str, run: Path, papagaio: Papagaio
) -> None:
    (run.parent / "none.toml").write_text("rules = []\n")
    ended = papagaio("gate", run, *words)
    assert (ended.code, ended.stdout) == (2, "")
    assert re.search(complaint, ended.complaint), ended.complaint


def test_the_formats_are_those_that_can_be_named(run: Path, papagaio: Papagaio) -> None:
    assert get_args(Format) == tuple(FORMATS)
    ended = papagaio("gate", run, "--rule=fidelity < 1", "--format=yaml")
    assert (ended.code, ended.stdout) == (2, "")
    assert "'yaml' is not one of 'text'" in ended.stderr


def test_a_result_of_a_newer_schema_says_what_to_do(run: Path, papagaio: Papagaio) -> None:
    path = run / "result.json"
    newer = {**json.loads(path.read_text()), "schema": 3, "papagaio": "9.0", "unknown": 1}
    path.write_text(json.dumps(newer))
    ended = papagaio("gate", run, "--rule=fidelity < 1")
    assert ended.code == 2
    assert "its schema is 3, written by papagaio 9.0; papagaio" in ended.complaint
    assert ended.complaint.endswith("reads schema 2: install a newer one")


def test_an_audit_applies_its_gate_and_refuses_its_mistakes_before_it_asks(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    file = tiny.folder / "gate.toml"
    file.write_text('rules = ["fidelity <= 1 at 13"]\n')
    refused = papagaio(*tiny.audit(gate=file))
    assert refused.code == 2
    assert "budget 13 was not measured; the nearest is 12" in refused.complaint
    # Copies learn from what the black box shows where nothing else was asked for.
    file.write_text('rules = ["fidelity <= 1 for label"]\n')
    refused = papagaio(*tiny.audit(gate=file))
    assert refused.code == 2
    assert "no copy learns from label, but from probabilities" in refused.complaint
    file.write_text('rule = ["fidelity <= 1"]\n')
    assert "gate.toml: rule" in papagaio(*tiny.audit(gate=file)).complaint
    assert tiny.asked() == []
    file.write_text('rules = ["fidelity <= 1 at 12"]\nstrict = true\n')
    # Its black box fails the check: nothing is decided.
    ended = papagaio(*tiny.audit(gate=file))
    assert ended.code == 10
    assert ended.stdout.splitlines()[-1].startswith("not decided\tfidelity <= 1 at 12\t")
