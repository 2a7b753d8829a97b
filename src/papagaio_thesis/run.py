"""`papagaio reproduce thesis` from its settings to its files; the same settings resume a run."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial

from papagaio import files
from papagaio.auditing.describing import machine_record, package_versions
from papagaio.auditing.log import Log, command_line
from papagaio.errors import Diverged
from papagaio.executors.here import on_this_machine
from papagaio.executors.named import executor_for
from papagaio.hardware import cores
from papagaio.jobs import Executor, run_jobs
from papagaio.networks.headed import Architecture, build_headed
from papagaio.progress import Message, Progress, no_progress, tracked
from papagaio.training.machine import Machine, choose_device
from papagaio.training.precision import settled_precision
from papagaio.version import __version__
from papagaio_thesis.checks import check_requirements
from papagaio_thesis.digits import study_digits
from papagaio_thesis.experiments import BODIES
from papagaio_thesis.initial import initial_weights, starts_from_keras
from papagaio_thesis.inputs import PARTS, load_parts, prepare_inputs
from papagaio_thesis.magnified import magnify
from papagaio_thesis.merging import merged, read_earlier
from papagaio_thesis.options import StudyOptions, read_options
from papagaio_thesis.outcomes import Outcomes
from papagaio_thesis.page import write_pages
from papagaio_thesis.plan import Planner
from papagaio_thesis.readings import ReadingContext, study_readings
from papagaio_thesis.records import (
    DigitRecord,
    DivergedRecord,
    ThesisResult,
)
from papagaio_thesis.settings import ReproduceSettings
from papagaio_thesis.teacher import CLASSES, SHAPE, prepare_teacher
from papagaio_thesis.trials import Trial, TrialContext, trial_job, unfinished

__all__ = ["reproduce"]

_TRIALS = "trials"


def reproduce(settings: ReproduceSettings, progress: Progress = no_progress) -> ThesisResult:
    """Reproduce the thesis, or parts of it: train what is missing, write the tables and the page.

    Args:
        settings: what to run.
        progress: told how far it is.

    Returns:
        the content of `thesis.json`.

    Raises:
        BadSettings: an option, the device, an architecture or a file of weights cannot be used.
        BadImages: image files are missing or broken.
        Busy: another process works in the run directory.
        Lost: a cluster lost its machines; what is finished is kept.
        NoSpace: the disk is full.
        Diverged: some trainings diverged; everything else is finished and written.
    """
    keras = settings.stand_in is None and starts_from_keras(settings.weights_dir)
    options = read_options(settings.scale, settings.options, keras=keras)
    check_requirements(settings, options)
    _executor(settings)  # refuses a cluster that does not answer before hours of training
    with files.lock(settings.out / ".lock"):
        log = Log(settings.out / "log.jsonl")
        log.note("started", command=command_line(), papagaio=__version__)
        earlier = read_earlier(settings.out / "thesis.json", options, settings.scale)
        outcomes = Outcomes(digits=earlier.digits if earlier else [])
        try:
            _run(settings, options, outcomes, log, progress)
        finally:
            # An interrupted run shows what it has; one without outcomes changes nothing.
            result = merged(earlier, _result(settings, options, outcomes, log))
            if not outcomes.is_empty:
                write_pages(result, settings.out)
            log.note("ended", complete=result.complete)
    if outcomes.diverged:
        names = "; ".join(map(str, outcomes.diverged))
        raise Diverged(f"{names}; {settings.out / 'thesis.html'} is without these trainings")
    return result


def _run(
    settings: ReproduceSettings,
    options: StudyOptions,
    outcomes: Outcomes,
    log: Log,
    progress: Progress,
) -> None:
    if "taxonomy" in settings.studies:
        _study_digits(settings, options, outcomes, progress)
    if not settings.needs_images:
        outcomes.planned = 0
        return
    device, why = choose_device(settings.device)
    progress(Message(f"device {device}: {why}"))
    machine_of = cache(partial(_machine_of, settings, progress=progress))
    if "readings" in settings.studies:
        _study_readings(settings, options, machine_of(BODIES["VGG16"]), outcomes, progress)
    if settings.needs_teacher:
        _study_students(settings, options, machine_of, outcomes, log, progress)
    else:
        outcomes.planned = 0


def _study_readings(
    settings: ReproduceSettings,
    options: StudyOptions,
    machine: Machine,
    outcomes: Outcomes,
    progress: Progress,
) -> None:
    sets = load_parts("cifar10", settings.data_dir, progress)
    context = ReadingContext(
        options,
        settings.data_dir,
        initial_weights(BODIES["VGG16"], options.teacher.weights, settings.weights_dir),
        "".join(sets[part].digest for part in PARTS),
        machine,
        settings.out / "readings",
    )
    for outcome in study_readings(context, on_this_machine(settings.workers), progress):
        if isinstance(outcome, DivergedRecord):
            outcomes.diverged.append(outcome)
        else:
            outcomes.readings.append(outcome)


def _study_students(
    settings: ReproduceSettings,
    options: StudyOptions,
    machine_of: Callable[[str], Machine],
    outcomes: Outcomes,
    log: Log,
    progress: Progress,
) -> None:
    """The teacher, and everything that learns from it."""
    cifar10 = load_parts("cifar10", settings.data_dir, progress)
    teacher = prepare_teacher(settings, options, cifar10, machine_of(BODIES["VGG16"]), progress)
    outcomes.teacher = teacher.record
    if settings.is_teacher_only:
        outcomes.planned = 0
        return
    cifar100 = load_parts("cifar100", settings.data_dir, progress)
    inputs = prepare_inputs(options, teacher, cifar10, cifar100, settings.out, progress)
    trials = Planner(settings, options, inputs, machine_of).trials()
    outcomes.planned = len(trials)
    if not trials:
        return
    context = TrialContext(settings.out / _TRIALS, inputs.train, inputs.test, options.images.probed)
    _train(settings, context, trials, outcomes, log, progress)


def _study_digits(
    settings: ReproduceSettings, options: StudyOptions, outcomes: Outcomes, progress: Progress
) -> None:
    digits: list[DigitRecord] = []
    executor = on_this_machine(settings.workers)
    seeds, folder = options.studies.digit_seeds, settings.out / "digits"
    for outcome in study_digits(seeds, folder, executor, progress):
        if isinstance(outcome, DivergedRecord):
            outcomes.diverged.append(outcome)
        else:
            digits.append(outcome)
    # Whichever copy was finished first.
    outcomes.digits = sorted(digits, key=lambda one: (one.seed, one.letters, one.recipe))


def _train(
    settings: ReproduceSettings,
    context: TrialContext,
    trials: Sequence[Trial],
    outcomes: Outcomes,
    log: Log,
    progress: Progress,
) -> None:
    """Run the trials, and then measure those that the study `magnified` is about."""
    # Studies may share trainings.
    by_id: dict[str, list[Trial]] = {}
    for trial in trials:
        by_id.setdefault(context.id_of(trial), []).append(trial)
    jobs = [trial_job(context, same[0]) for same in by_id.values()]
    finished: list[Trial] = []
    outcome_of_each = run_jobs(jobs, _executor(settings), unit="trainings", progress=progress)
    try:
        for job, outcome in outcome_of_each:
            for trial in by_id.pop(job.id):
                if isinstance(outcome, Diverged):
                    outcomes.diverged.append(trial.diverged(str(outcome)))
                else:
                    outcomes.trials.append(trial.labelled(outcome))
                    finished.append(trial)
                event = "diverged" if isinstance(outcome, Diverged) else "trained"
                log.note(event, study=trial.study, variant=trial.variant, seed=trial.seed)
    finally:
        # By now, only interrupted trials are left.
        outcomes.unfinished = [
            trial.labelled(record)
            for same in by_id.values()
            if (record := unfinished(context, same[0]))
            for trial in same
        ]
    some = [trial for trial in finished if _is_magnified(trial)]
    if "magnified" in settings.studies and some:
        for trial in tracked(some, len(some), "magnifying images", "students", progress):
            outcomes.magnified.append(magnify(context, trial, progress))


def _executor(settings: ReproduceSettings) -> Executor:
    """Where trials run."""
    machine = _machine(settings)
    return executor_for(
        settings, settings.out / _TRIALS, device=machine.device, threads=machine.threads
    )


def _is_magnified(trial: Trial) -> bool:
    is_experiment = trial.study.startswith("experiment") and trial.variant == "thesis"
    return trial.seed == 0 and (is_experiment or trial.study == "explosion")


def _machine_of(settings: ReproduceSettings, body: str, *, progress: Progress) -> Machine:
    """Where an architecture is trained."""
    machine = _machine(settings)
    if settings.precision != "auto":
        return replace(machine, precision=settings.precision)
    build = partial(build_headed, Architecture(body), "random", SHAPE, CLASSES, seed=0)
    machine, why = settled_precision(body, build, SHAPE, machine)
    progress(Message(f"precision {machine.precision} for {body}: {why}"))
    return machine


def _machine(settings: ReproduceSettings) -> Machine:
    device, _ = choose_device(settings.device)
    return Machine(device, threads=settings.threads or max(1, cores() // settings.workers))


def _result(
    settings: ReproduceSettings, options: StudyOptions, outcomes: Outcomes, log: Log
) -> ThesisResult:
    reason = "measured for each architecture" if settings.precision == "auto" else "as given"
    machine = machine_record(_machine(settings), reason, settings)
    return ThesisResult(
        papagaio=__version__,
        packages=package_versions(),
        command=command_line(),
        started=log.begun,
        seconds=log.seconds,
        scale=settings.scale,
        complete=outcomes.is_complete,
        # Each trial's record has the precision that was chosen for its architecture.
        machine=machine.model_copy(update={"precision": settings.precision}),
        options=options,
        teacher=outcomes.teacher,
        trials=outcomes.trials,
        unfinished=outcomes.unfinished,
        diverged=outcomes.diverged,
        digits=outcomes.digits,
        magnified=outcomes.magnified,
        readings=outcomes.readings,
    )
