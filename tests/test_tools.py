"""The verbs around an audit: list, view, init and schema; JSON, completion, `python -m`."""

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from conftest import COMMAND, Papagaio, Tiny

from papagaio import __version__
from papagaio.auditing.log import command_line
from papagaio.options import to_toml, validated
from papagaio.result import read_result
from papagaio.settings import Settings
from papagaio.verdict import verdict_of

ROOT = Path(__file__).parents[1]
EXAMPLE = json.loads((ROOT / "tests" / "data" / "result-example.json").read_text())


def run_of(folder: Path, **changes: object) -> Path:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(EXAMPLE | changes))
    return folder


def log_of(folder: Path, at: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.toml").touch()
    (folder / "log.jsonl").write_text(f'{{"at": "{at}", "second": 0, "event": "started"}}\n')
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Five runs, newest first, in folders of other names, and what is not a run."""
    inside = tmp_path / "runs"
    run_of(inside / ".hidden")
    (inside / "empty").mkdir(parents=True)
    cells = EXAMPLE["cells"]
    nested = run_of(inside / "b" / "deep", started="2026-03-05T00:00:00.000+00:00", complete=True)
    # What a run holds is not another run.
    run_of(nested / "copy", started="2026-12-31T00:00:00.000+00:00")
    newer = run_of(inside / "e", schema=99)
    (newer / "log.jsonl").write_text('{"at": "2026-01-01T00:00:00.000+00:00"}\n')
    made = {"started": "2026-03-04T00:00:00.000+00:00", "complete": False, "cells": cells[:1]}
    return [
        log_of(inside / "a", "2026-03-06T00:00:00.000+00:00"),
        nested,
        run_of(inside / "c", **made, diverged=[], trainings=9),
        run_of(inside / "d", **made | {"started": "2026-03-03"}, diverged=[], trainings=1),
        newer,
    ]


def test_runs_are_listed_newest_first_with_their_strongest_copies(
    runs: list[Path], papagaio: Papagaio
) -> None:
    ended = papagaio("list", "runs")
    head, *lines = ended.stdout.splitlines()
    rows = [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]
    assert [row["run"] for row in rows] == [str(run.relative_to(Path.cwd())) for run in runs]
    states = ["asking", "complete", "unfinished", "diverged", "unreadable"]
    assert [row["state"] for row in rows] == states
    assert [row["kind"] for row in rows] == ["-", *["audit"] * 3, "-"]
    assert rows[2]["trainings"] == "1/9"
    copies = [row for row in EXAMPLE["summary"] if row["kind"] == "copy"]
    best = max(copies, key=lambda row: (row["budget"], row["fidelity"]["value"]))
    assert rows[1]["fidelity"] == f"{best['fidelity']['value']:.4f}"
    assert rows[0]["fidelity"] == "-"
    assert rows[1]["level"] == verdict_of(read_result(runs[1] / "result.json")).level
    assert ended.complaint.startswith("papagaio: runs/e/result.json: its schema is 99")


def test_a_list_is_json_for_programs(runs: list[Path], papagaio: Papagaio) -> None:
    found = json.loads(papagaio("list", runs[1], "--json").stdout)
    assert [one["run"] for one in found] == [str(runs[1])]
    assert set(found[0]["fidelity"]) == {"value", "low", "high", "n"}


def test_a_folder_that_is_not_there_is_one_line(papagaio: Papagaio) -> None:
    ended = papagaio("list")
    assert ended.code == 2
    assert ended.complaint == "papagaio: runs: no such folder; name the one that holds your runs"


def test_a_report_is_opened_in_the_browser(tmp_path: Path) -> None:
    page, seen = tmp_path / "my run" / "report.html", tmp_path / "seen"
    page.parent.mkdir()
    page.touch()
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {seen}\n')
    browser.chmod(0o755)
    for known, printed, opened in (
        (f"{browser} %s", "", page.as_uri()),
        ("/nowhere/browser %s", f"{page}\n", ""),
    ):
        seen.unlink(missing_ok=True)
        # No browser of this machine's own.
        alone = {"BROWSER": known, "PATH": "", "HOME": str(tmp_path)}
        command = [str(COMMAND), "view", str(page.parent)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=alone)
        assert (done.stdout, done.stderr) == (printed, "")
        assert (seen.read_text() if seen.exists() else "") == opened


def test_a_run_without_a_report_is_one_line(tmp_path: Path, papagaio: Papagaio) -> None:
    ended = papagaio("view", tmp_path)
    assert ended.code == 2
    assert "there is no report" in ended.complaint


def test_the_written_settings_are_the_defaults(papagaio: Papagaio, tmp_path: Path) -> None:
    assert papagaio("init", "new/audit.toml").stdout == "written\tnew/audit.toml\n"
    text = (tmp_path / "new" / "audit.toml").read_text(encoding="utf-8")
    assert max(map(len, text.splitlines())) <= 100
    names = set(re.findall(r"^#?([a-z0-9-]+) = ", text, re.MULTILINE))
    assert names == {name.replace("_", "-") for name in Settings.model_fields}
    given = validated(Settings, tomllib.loads(text))
    # Without the # before those that have a default, they mean the same.
    for line in re.findall(r"^#([a-z0-9-]+ = .+)$", text, re.MULTILINE):
        name = line.partition(" = ")[0].replace("-", "_")
        if Settings.model_fields[name].default is not None:
            changed = validated(Settings, tomllib.loads(f"{text}\n{line}"))
            assert to_toml(changed) == to_toml(given), line
    assert '#authorised-by = "WHO, REFERENCE"' in text
    assert '#colour-order = "rgb|bgr"' in text
    assert "#threads = N" in text


def test_settings_that_are_there_are_not_written_over(papagaio: Papagaio, tmp_path: Path) -> None:
    (tmp_path / "audit.toml").write_text("mine")
    ended = papagaio("init")
    assert ended.code == 2
    assert ended.complaint == "papagaio: audit.toml is there already; name another file"
    assert (tmp_path / "audit.toml").read_text() == "mine"


def test_the_schema_of_a_result_is_the_published_one(papagaio: Papagaio) -> None:
    published = (ROOT / "docs" / "result.schema.json").read_text(encoding="utf-8")
    assert papagaio("schema", "result").stdout == published


def test_the_schema_of_settings_takes_a_configuration_and_refuses_a_wrong_one(
    papagaio: Papagaio,
) -> None:
    schema = json.loads(papagaio("schema", "config").stdout)
    jsonschema.Draft202012Validator.check_schema(schema)
    fine: dict[str, Any] = {"black-box": "m.onnx", "transfer": "a", "test": "b", "budget": 10}
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(fine | {"seeds": [0, 1], "responses": ["label"]})
    for wrong in ({"budget": 0}, {"bugdet": 10}, {"responses": ["loud"]}):
        assert not validator.is_valid(fine | wrong)
    assert papagaio("schema", "loud").code == 2


def test_a_shell_completes_commands() -> None:
    asked = {"_PAPAGAIO_COMPLETE": "complete_bash", "COMP_WORDS": "papagaio led", "COMP_CWORD": "1"}
    done = subprocess.run(
        [COMMAND], capture_output=True, text=True, check=True, env={**os.environ, **asked}
    )
    assert done.stdout.split() == ["ledger"]


def test_the_package_is_a_command_too(monkeypatch: pytest.MonkeyPatch) -> None:
    command = [sys.executable, "-m", "papagaio", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"papagaio {__version__}\n"
    monkeypatch.setattr(sys, "argv", ["/somewhere/papagaio/__main__.py", "audit", "my model"])
    assert command_line() == "python -m papagaio audit 'my model'"


def test_every_verb_that_prints_results_prints_json(tiny: Tiny, papagaio: Papagaio) -> None:
    def of(*words: object) -> Any:  # noqa: ANN401
        ended = papagaio(*words, "--json")
        assert ended.code == 0, ended.stderr
        return json.loads(ended.stdout)

    forecast = of(*tiny.audit(), "--dry-run")
    assert (forecast["total"], forecast["trainings"]) == (21, 1)
    assert forecast["options"]["budget"] == 12
    done = of(*tiny.audit())
    assert done["complete"] is True
    assert done["verdict"]["level"] == "not decided"
    assert json.loads(Path(done["result"]).read_text())["schema"] == EXAMPLE["schema"]
    assert of("report", tiny.out) == done
    (shown,) = of("ledger", "show", tiny.ledger)
    assert shown["answers"] == 21
    assert of("ledger", "verify", tiny.ledger) == {"answers": 21, "problems": []}
    brought = of("ledger", "import", tiny.ledger, "--into", tiny.folder / "other.sqlite")
    assert brought["answers"] == 21
    words = tiny.audit(box=f"recorded={tiny.folder / 'answers.csv'}", epochs=None)
    assert of("questions", *words[1:], "--to", "asked") == {"images": 21, "folder": "asked"}
    assert of("doctor")["packages"]["torch"]


def test_a_check_prints_what_it_found_as_json(tiny: Tiny, papagaio: Papagaio) -> None:
    words = ["--input=8x8x1", "--classes=3", f"--test={tiny.folder / 'test.npz'}", "--json"]
    ended = papagaio("check", f"{tiny.folder / 'box.py'}:predict", *words)
    found = json.loads(ended.stdout)
    assert found["examination"]["works"] is (ended.code == 0)
    assert found["examination"]["accuracy"]["n"] == 9
    assert found["options"]["classes"] == 3
