import pytest
from killing import BATCH, QUERYING, TRAINING, Account, Case, Run, images_in, kill

# `benchmarks/kills.py` does the same with more kills.
KILLS_OF_QUERYING = 2
BUDGET = 200
EPOCHS = 40


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


def test_killed_while_asking_it_loses_no_answer_and_pays_for_none_twice(undisturbed: Run) -> None:
    run = Run(undisturbed.case, "asking")

    account = kill(run, undisturbed, QUERYING, KILLS_OF_QUERYING)

    assert account.lost == 0
    assert account.paid_twice == 0
    assert account.most_sent_again <= BATCH
    assert account.sent_again <= account.interrupted <= BATCH * KILLS_OF_QUERYING
    assert is_as_if_undisturbed(account)


def test_workers_end_with_a_killed_parent_and_their_trainings_go_on_later(
    undisturbed: Run,
) -> None:
    run = Run(undisturbed.case, "workers", seeds=(0, 1), workers=2)

    account = kill(run, undisturbed, TRAINING, kills=1)

    assert account.written_after == 0
    assert len(images_in(run.received)) == run.case.images
    assert is_as_if_undisturbed(account)
