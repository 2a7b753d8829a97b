from pathlib import Path

import pytest
from killing import TRAINING, Account, Case, Run, images_in, kill

# `benchmarks/kills.py` does the same with more kills.
BUDGET = 200
EPOCHS = 60


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Run:
    case = Case(tmp_path_factory.mktemp("kills"), BUDGET, EPOCHS)
    case.prepare()
    run = Run(case, "undisturbed", seeds=(0, 1))
    run.finish()
    return run


def is_as_if_undisturbed(account: Account) -> bool:
    return account.weights_equal and account.curves_equal and account.sound


def test_an_undisturbed_run_sends_every_image_once(undisturbed: Run) -> None:
    images = images_in(undisturbed.received)
    answers, interrupted = undisturbed.answers()

    assert len(images) == undisturbed.case.images
    assert set(images) == answers.keys()
    assert interrupted == 0
    first, second = undisturbed.result("student.safetensors")
    assert first != second


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads processes from /proc")
def test_workers_end_with_a_killed_parent_and_their_trainings_go_on_later(
    undisturbed: Run,
) -> None:
    run = Run(undisturbed.case, "workers", seeds=(0, 1), workers=2)

    account = kill(run, undisturbed, TRAINING, kills=1)

    assert account.left_alive == 0
    assert len(images_in(run.received)) == run.case.images
    assert is_as_if_undisturbed(account)
