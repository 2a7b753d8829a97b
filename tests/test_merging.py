"""What a reproduction keeps of an earlier one in the same folder."""

from pathlib import Path

from papagaio_thesis.merging import merged, read_earlier
from papagaio_thesis.options import read_options
from papagaio_thesis.records import (
    DivergedRecord,
    Magnified,
    MagnifiedRecord,
    ThesisResult,
    TrialRecord,
)


def with_(stored: ThesisResult, *trials: TrialRecord, **more: object) -> ThesisResult:
    return stored.model_copy(update={"trials": list(trials)} | more)


def thesis_trial(stored: ThesisResult, study: str) -> TrialRecord:
    return next(t for t in stored.trials if (t.study, t.variant) == (study, "thesis"))


def diverged(trial: TrialRecord, reason: str) -> DivergedRecord:
    return DivergedRecord(
        study=trial.study, variant=trial.variant, body=trial.body, seed=trial.seed, reason=reason
    )


def test_records_of_earlier_runs_stay_beside_those_of_this_one(stored: ThesisResult) -> None:
    one, four, longer = (
        thesis_trial(stored, study) for study in ("experiment 1", "experiment 4", "longer")
    )
    again = four.model_copy(update={"seconds": 1.0})
    other_seed = four.model_copy(update={"seed": 1})
    other_images = four.model_copy(update={"training_set": "large"})
    trials = merged(with_(stored, four, one), with_(stored, again, other_seed, longer)).trials
    assert [t.study for t in trials] == ["experiment 1", "experiment 4", "experiment 4", "longer"]
    assert again in trials
    assert four not in trials
    assert len(merged(with_(stored, four), with_(stored, other_images)).trials) == 2


def test_records_stand_in_the_order_of_seeds_whichever_ended_first(stored: ThesisResult) -> None:
    trial = thesis_trial(stored, "experiment 4")
    seeds = [trial.model_copy(update={"seed": seed}) for seed in (2, 0, 1)]
    assert [t.seed for t in merged(None, with_(stored, *seeds)).trials] == [0, 1, 2]


def test_an_unfinished_training_stays_until_it_is_finished(stored: ThesisResult) -> None:
    trial = thesis_trial(stored, "experiment 4")
    longer = trial.model_copy(update={"seconds": 2 * trial.seconds})
    begun = with_(stored, unfinished=[trial])
    assert merged(begun, with_(stored)).unfinished == [trial]
    assert merged(begun, with_(stored, unfinished=[longer])).unfinished == [longer]
    assert merged(begun, with_(stored, trial)).unfinished == []
    assert merged(with_(stored, trial), begun).unfinished == []


def test_what_was_learned_of_another_teacher_is_not_shown_beside_this_one(
    stored: ThesisResult,
) -> None:
    teacher = stored.teacher
    assert teacher is not None
    other = teacher.model_copy(update={"identity": "another"})
    earlier = stored.model_copy(update={"diverged": [diverged(stored.trials[0], "broke")]})
    assert merged(earlier, with_(stored)).trials == merged(None, earlier).trials
    assert merged(earlier, with_(stored)).diverged == earlier.diverged
    fresh = merged(earlier, with_(stored, teacher=other))
    assert (fresh.teacher, fresh.trials, fresh.diverged) == (other, [], [])
    # A run that was stopped before it knew its teacher replaces nothing.
    assert merged(earlier, with_(stored, teacher=None)).teacher == teacher
    assert merged(earlier, with_(stored, teacher=None)).trials == merged(None, earlier).trials


def test_what_diverged_is_listed_until_it_is_tried_again(stored: ThesisResult) -> None:
    two, four = (thesis_trial(stored, f"experiment {n}") for n in (2, 4))
    broken = [diverged(one, "broke in epoch 2") for one in (two, four)]
    earlier = with_(stored, diverged=broken)
    assert merged(earlier, with_(stored)).diverged == broken
    assert merged(earlier, with_(stored, two)).diverged == broken[1:]
    again = [diverged(two, "broke in epoch 3")]
    assert merged(earlier, with_(stored, diverged=again)).diverged == [*broken[1:], *again]


def test_a_student_magnified_again_takes_the_place_of_its_earlier_look(
    stored: ThesisResult,
) -> None:
    def record(study: str, loss: float) -> MagnifiedRecord:
        look = [Magnified(factor=1.0, accuracy=0.5, loss=loss)]
        return MagnifiedRecord(
            study=study, variant="thesis", body="b", images=1, as_trained=look, bounded=look
        )

    earlier = with_(stored, magnified=[record("experiment 2", 1), record("experiment 1", 1)])
    now = with_(stored, magnified=[record("experiment 2", 2)])
    assert merged(earlier, now).magnified == [record("experiment 1", 1), record("experiment 2", 2)]


def test_what_other_options_left_is_not_taken_over(tmp_path: Path, stored: ThesisResult) -> None:
    path = tmp_path / "thesis.json"
    assert read_earlier(path, stored.options, stored.scale) is None
    path.write_text(stored.model_dump_json())
    assert read_earlier(path, stored.options, stored.scale) == stored
    assert read_earlier(path, read_options(), stored.scale) is None
    assert read_earlier(path, stored.options, "full") is None
