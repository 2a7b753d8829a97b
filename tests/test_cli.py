"""The command line: what it says, where it says it, and that the documentation knows it."""

import re
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
from conftest import COMMAND, Papagaio, Tiny

from papagaio import __version__
from papagaio.ledger import Ledger
from papagaio.settings import Settings
from papagaio.training.machine import Machine

ROOT = Path(__file__).parents[1]


def help_of(*verb: str) -> str:
    done = subprocess.run([COMMAND, *verb, "--help"], capture_output=True, text=True, check=True)
    return done.stdout


def test_help_comes_at_once() -> None:
    def used() -> float:
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return children.ru_utime + children.ru_stime

    seconds = []
    for _ in range(3):
        before = used()
        help_of()
        seconds.append(used() - before)
    # A third of a second where nothing else runs; torch alone would take three.
    assert min(seconds) < 1.5


def test_the_version_is_the_packages(papagaio: Papagaio) -> None:
    ended = papagaio("--version")
    assert (ended.code, ended.stdout) == (0, f"papagaio {__version__}\n")


@pytest.mark.parametrize(
    "verb",
    [
        *(
            "demo",
            "teach",
            "init",
            "check",
            "estimate",
            "audit",
            "questions",
            "list",
            "view",
            "report",
        ),
        *("gate", "compare", "reproduce", "ledger", "schema", "doctor"),
    ],
)
def test_every_verb_has_help_and_stands_in_the_readme(verb: str) -> None:
    assert "Usage:" in help_of(verb)
    assert f"papagaio {verb}" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_setting_is_an_option_of_audit() -> None:
    shown = set(re.findall(r"--([a-z0-9-]+)", help_of("audit")))
    names = {name.replace("_", "-") for name in Settings.model_fields} - {"black-box"}
    assert names <= shown


def test_results_go_to_stdout_and_progress_to_stderr(tiny: Tiny, papagaio: Papagaio) -> None:
    ended = papagaio(*tiny.audit())
    assert ended.code == 0
    assert ended.stdout.splitlines()[0].startswith("From 12 answers about transfer")
    assert ended.stdout.splitlines()[-1] == f"report: {tiny.out / 'report.html'}"
    assert "asking about transfer: 0 of 12 images" in ended.stderr


def test_a_report_is_written_again_from_the_result_alone(tiny: Tiny, papagaio: Papagaio) -> None:
    papagaio(*tiny.audit())
    page = tiny.out / "report.html"
    first = page.read_text(encoding="utf-8")
    page.unlink()
    ended = papagaio("report", str(tiny.out))
    assert ended.code == 0
    assert page.read_text(encoding="utf-8") == first


def test_a_ledger_is_shown_as_columns_that_other_programs_can_read(
    tiny: Tiny, papagaio: Papagaio
) -> None:
    papagaio(*tiny.audit())
    head, row = papagaio("ledger", "show", str(tiny.ledger)).stdout.splitlines()
    shown = dict(zip(head.split("\t"), row.split("\t"), strict=True))
    assert (shown["answers"], shown["interrupted"], shown["draw"]) == ("21", "0", "0")
    verified = papagaio("ledger", "verify", str(tiny.ledger))
    assert (verified.code, verified.stdout) == (0, f"{tiny.ledger}: 21 answers, all intact\n")


def test_a_reader_that_has_seen_enough_ends_the_command_without_a_word(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    with Ledger(path):
        pass
    with subprocess.Popen(
        [COMMAND, "ledger", "show", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stderr
        # As `head` does, here before the first line.
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1


def test_doctor_says_versions_device_and_what_is_missing(papagaio: Papagaio) -> None:
    ended = papagaio("doctor")
    assert ended.code == 0
    for word in ("torch\t", "torchvision\t", "device\t", "processor\t"):
        assert word in ended.stdout
    # Which of them are here is the environment's matter.
    last = ended.stdout.splitlines()[-1]
    assert last == "nothing is missing" or last.startswith("only extras are missing: ")


def version_of_all_but(missing: str) -> Callable[[str], str]:
    def found(name: str) -> str:
        if name == missing:
            raise PackageNotFoundError(name)
        return "1.0"

    return found


def test_doctor_does_not_call_the_packages_of_extras_nothing(
    papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("papagaio.cli.doctor.version", version_of_all_but("matplotlib"))
    ended = papagaio("doctor")
    assert ended.code == 0
    assert "matplotlib\tmissing" in ended.stdout
    assert ended.stdout.splitlines()[-1] == "only extras are missing: demo"


def test_doctor_names_what_is_missing(papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("papagaio.cli.doctor.version", version_of_all_but("pyarrow"))
    ended = papagaio("doctor")
    assert ended.code == 2
    assert "pyarrow\tmissing" in ended.stdout
    assert ended.complaint.startswith("papagaio: missing: pyarrow; install papagaio again")


def test_doctor_says_that_torchvision_does_not_fit_torch(
    papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its import fails, as beside a torch of another release.
    monkeypatch.setitem(sys.modules, "torchvision", None)
    ended = papagaio("doctor")
    assert ended.code == 2
    assert "torchvision does not fit torch" in ended.complaint
    assert "nothing is missing" not in ended.stdout


def test_without_arguments_it_shows_the_verbs(papagaio: Papagaio) -> None:
    assert "audit" in papagaio().stdout + papagaio().stderr


def test_the_run_configuration_alone_runs_the_audit_again(tiny: Tiny, papagaio: Papagaio) -> None:
    papagaio(*tiny.audit())
    asked = tiny.asked()
    ended = papagaio("audit", f"--config={tiny.out / 'config.toml'}")
    assert ended.code == 0
    assert tiny.asked() == asked


def test_a_run_that_goes_on_keeps_what_it_chose_when_it_began(
    tiny: Tiny, papagaio: Papagaio, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = papagaio(*tiny.audit(precision="bfloat16"))
    assert begun.code == 0, begun.stderr
    # What would be chosen now is something else.
    monkeypatch.setattr("papagaio.auditing.preparing.cores", lambda: 7)

    def settled(_: str, __: object, ___: object, machine: Machine) -> tuple[Machine, str]:
        return replace(machine, precision="float32"), "faster"

    monkeypatch.setattr("papagaio.auditing.preparing.settled_precision", settled)
    command = tiny.audit(precision=None, threads=None)
    going_on = papagaio(*command, "--dry-run").stdout.splitlines()
    assert {'precision = "bfloat16"', "threads = 1"} <= set(going_on)
    anew = papagaio(*command, f"--out={tiny.folder / 'other'}", "--dry-run").stdout.splitlines()
    assert {'precision = "float32"', "threads = 7"} <= set(anew)
