"""The fixture of pytest, in real runs of pytest."""

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import Tiny
from example_results import cell, result

from papagaio.errors import BadSettings
from papagaio.result import Scores, read_result, write_result
from papagaio.scores import Figure
from papagaio.testing.audited import Audited, read_audited

pytest_plugins = ["pytester"]

# Right about labels that are the first pixel modulo 3.
BOX = """
from pathlib import Path
import numpy as np

def predict(images):
    with Path(__file__).with_name("asked.log").open("a") as log:
        log.write(f"{len(images)}\\n")
    sure = 0.6 + 0.3 * images.mean((1, 2, 3))[:, None] / 255
    named = np.eye(3)[images[:, 0, 0, 0] % 3]
    return (named * sure + (1 - named) * (1 - sure) / 2).astype("float32")
"""

TESTS = """
import pytest

def test_few_answers_give_a_poor_copy(audit):
    assert audit.fidelity_at(500).high < 0.8

def test_many_answers_do_not(audit):
    assert audit.fidelity_at(4000).high < 0.8
"""


Pytest = Callable[..., pytest.RunResult]


@pytest.fixture
def run_pytest(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Pytest:
    """A run of pytest with this plugin by its entry point, and no other: they take seconds."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return partial(pytester.runpytest_subprocess, "-p", "papagaio")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    audited = result([cell(budget=500, fidelity=0.6), cell(), cell(fidelity=0.7, response="label")])
    write_result(audited, tmp_path / "run" / "result.json")
    return tmp_path / "run"


def test_a_models_own_tests_ask_what_an_audit_measured(
    pytester: pytest.Pytester, run_pytest: Pytest, run: Path
) -> None:
    pytester.makepyfile(TESTS)
    pytester.makeini(f"[pytest]\npapagaio_run = {run}\n")
    ended = run_pytest()
    ended.assert_outcomes(passed=1, failed=1)
    ended.stdout.fnmatch_lines(["*assert 0.999* < 0.8"])
    # The command line wins.
    ended = run_pytest("--papagaio-run=nowhere")
    ended.assert_outcomes(errors=2)
    ended.stdout.fnmatch_lines(["papagaio: *nowhere/result.json: there is no result; name the *"])


def test_the_fixture_runs_an_audit_from_its_file_and_pays_once(
    pytester: pytest.Pytester, run_pytest: Pytest, tiny: Tiny
) -> None:
    tiny.box(BOX)
    images = np.load(tiny.folder / "test.npz")["images"]
    np.savez(tiny.folder / "test.npz", images=images, labels=images[:, 0, 0, 0] % 3)
    words = dict(word[2:].split("=", 1) for word in tiny.audit(box=None) if "=" in word)
    lines = [f'{name} = "{value}"' for name, value in words.items()]
    lines.append(f'black-box = "{tiny.folder / "box.py"}:predict"')
    (tiny.folder / "audit.toml").write_text("\n".join(lines))
    pytester.makepyfile(
        """
        def test_the_verdict(audit):
            assert audit.verdict.level in ("low", "moderate", "high", "critical", "not decided")

        def test_the_copy(audit):
            assert audit.fidelity_at(12).n == 9
        """
    )
    option = f"--papagaio-audit={tiny.folder / 'audit.toml'}"
    run_pytest(option).assert_outcomes(passed=2)
    assert (tiny.out / "report.html").exists()
    assert sum(tiny.asked()) == read_result(tiny.out / "result.json").queries.total


def test_nothing_is_asserted_without_a_run_or_about_one_that_is_not_complete(
    pytester: pytest.Pytester, run_pytest: Pytest, run: Path
) -> None:
    pytester.makepyfile(TESTS)
    ended = run_pytest()
    ended.assert_outcomes(errors=2)
    ended.stdout.fnmatch_lines(["papagaio: name the folder of a run with papagaio_run or *"])
    write_result(result(complete=False, trainings=9), run / "result.json")
    with pytest.raises(BadSettings, match=r"incomplete: 6 trainings of 9 not ended; nothing can"):
        read_audited(run)


def test_the_strongest_copy_of_a_budget_and_a_response_is_meant(run: Path) -> None:
    audited = read_audited(run)
    assert audited.fidelity_at(4000).value == pytest.approx(0.989)
    assert audited.fidelity_at(4000, "label").value == pytest.approx(0.7)
    assert audited.accuracy_at(500).value == pytest.approx(0.597)
    assert audited.relative_accuracy_at(500).value == pytest.approx(0.6)
    assert audited.verdict.budget == 4000
    with pytest.raises(BadSettings, match="the nearest is 500, of 500, 4000"):
        audited.fidelity_at(600)
    # Every copy is below a limit that the highest end of an interval is below.
    ends = [
        Scores(fidelity=Figure(0.7, 0.69, 0.71, 590)),
        Scores(fidelity=Figure(0.6, 0.3, 0.9, 9)),
    ]
    wide = Audited(result([cell(scores=one, recipe=f"r{i}") for i, one in enumerate(ends)]))
    assert wide.fidelity_at(4000).high == pytest.approx(0.9)
    unscored = Audited(result([cell(scores=Scores())]))
    with pytest.raises(BadSettings, match="fidelity was not measured"):
        unscored.fidelity_at(4000)


def test_the_plugin_loads_nothing_before_a_test_asks_for_it() -> None:
    code = (
        "import sys, pytest\nbefore = set(sys.modules)\nimport papagaio.testing.plugin\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {
        "papagaio",
        "papagaio.testing",
        "papagaio.testing.plugin",
        "papagaio.version",
    }
