"""With which recipe a copy is trained: chosen by short trainings, on held-out answers.

No recipe is right for every black box. An augmented image, for one, is paired with the answer to
the original: a wrong example unless the black box would have given the same answer. Nothing but its
answers can show what is right. So each candidate trains a short copy on some of the answers, and
its predictions are compared with answers that no short copy learned.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from papagaio import files
from papagaio.errors import Diverged
from papagaio.networks.classifier import Classifier
from papagaio.progress import Progress, Step, no_progress
from papagaio.responses import Answers
from papagaio.training.inference import infer
from papagaio.training.judging import held_out_losses
from papagaio.training.loop import train
from papagaio.training.machine import Machine
from papagaio.training.recipe import Changes, Recipe

__all__ = ["Candidate", "Selection", "in_words", "select_recipe", "steps_of_choice"]

# The share of the final training's steps that all short trainings take together, evenly divided,
# and its limits. Fewer steps than the least show nothing. More than the most are not needed: with
# 10,000 answers, 100 steps told each of four candidates apart by 13 standard errors.
_SHARE = 0.32
_LEAST_STEPS = 160
_MOST_STEPS = 400

# A short copy learns few images often instead of every image once or twice: augmentation helps a
# copy that has begun to learn its images by heart, as the final one will.
_EPOCHS = 10

# With fewer answers, what is held out decides nothing.
_LEAST_ANSWERS = 100
_MOST_HELD_OUT = 2000


@dataclass(frozen=True)
class Candidate:
    """A recipe, and how its short copy did on the held-out images.

    Attributes:
        changes: fields of the given recipe with other values.
        hits: bool (N,), whether the copy names the class that the black box named.
        losses: float64 (N,), the given recipe's loss of each held-out image, with all logits scaled
            by the factor that suits the copy best; so candidates with other losses can be compared.
        seconds: the duration of that training and its inference.
    """

    changes: Changes
    hits: NDArray[np.bool_]
    losses: NDArray[np.float64]
    seconds: float

    def __str__(self) -> str:
        return f"loss {self.losses.mean():.3g}"


@dataclass(frozen=True)
class Selection:
    """What was chosen, and from what.

    Attributes:
        recipe: the choice.
        changes: what it changes in the given recipe.
        candidates: in the order of their trainings; those that diverged are left out.
        epochs: the number of epochs of each short training.
        steps: the number of steps of all short trainings.
    """

    recipe: Recipe
    changes: Changes
    candidates: tuple[Candidate, ...]
    epochs: int
    steps: int


class _Division(NamedTuple):
    """How many images a short copy learns, how many it is judged by, and for how many epochs."""

    learned: int
    held_out: int
    epochs: int


def select_recipe(  # noqa: PLR0913  # what `train` needs, and where trainings are kept
    build: Callable[[], Classifier],
    images: NDArray[np.uint8],
    answers: Answers,
    recipe: Recipe,
    *,
    seed: int,
    machine: Machine,
    kept: Path | None = None,
    progress: Progress = no_progress,
) -> Selection | None:
    """Choose among a recipe's candidates the one that is shown to help.

    Each round of the recipe adds changes to the winner of the round before. The winner of a round
    is the candidate with the least loss on held-out images, and of equal ones the first. A
    candidate whose short training diverges is not chosen.

    Args:
        build: makes the network that will be trained, each time with the same initial weights.
        images: uint8 (N, H, W, C), what the copy may learn from.
        answers: the N answers to them.
        recipe: how the copy is trained if nothing else is shown to be better; its rounds; and its
            batches, `settled`.
        seed: the seed of the division into learned and held-out images, and of the short trainings.
        machine: where they run.
        kept: a folder in which each candidate is kept and looked for, or None.
        progress: told before the first and after every candidate.

    Returns:
        the choice; None without rounds, or with fewer than 100 answers, which decide nothing.

    Raises:
        Diverged: the loss of every short training is no longer finite.
        NoSpace: the disk is full.
    """
    steps = steps_of_choice(recipe, len(images))
    if not steps:
        return None
    division = _divided(recipe, len(images))
    order = np.random.default_rng(seed).permutation(len(images))
    held_out = order[: division.held_out]
    learned = order[division.held_out : division.held_out + division.learned]

    def short_copy(changes: Changes) -> Candidate:
        started, copy = time.monotonic(), build()
        short = replace(recipe, **changes, epochs_given=division.epochs)
        train(copy, images[learned], answers[learned], short, seed=seed, machine=machine)
        logits = _finite(infer(copy, images[held_out], machine))
        hits = logits.argmax(1) == answers[held_out].labels
        losses = held_out_losses(recipe, logits, answers[held_out])
        return Candidate(changes, hits, losses, time.monotonic() - started)

    candidates, chosen = _compared(recipe, short_copy, kept, progress)
    winner = replace(recipe, **chosen.changes, rounds=())
    return Selection(winner, chosen.changes, tuple(candidates), division.epochs, steps)


def steps_of_choice(recipe: Recipe, images: int) -> int:
    """How many steps all short trainings take together; 0 where there is no choice."""
    if not recipe.rounds or images < _LEAST_ANSWERS:
        return 0
    division = _divided(recipe, images)
    return _trainings(recipe) * division.epochs * recipe.steps_per_epoch(division.learned)


def _compared(
    recipe: Recipe,
    short_copy: Callable[[Changes], Candidate],
    kept: Path | None,
    progress: Progress,
) -> tuple[list[Candidate], Candidate]:
    """All candidates that did not diverge, and the winner of the last round."""
    total, outcomes = _trainings(recipe), list[Candidate | Diverged]()
    task, unit = "choosing the recipe", "short trainings"

    def tried(changes: Changes) -> list[Candidate]:
        if not outcomes:
            progress(Step(task, 0, total, unit))
        path = kept / f"{len(outcomes)}.json" if kept else None
        outcome = _read(path) if path and path.exists() else _attempt(short_copy, changes)
        if path and not path.exists():
            files.write(path, _as_text(outcome))
        outcomes.append(outcome)
        progress(Step(task, len(outcomes), total, unit, f"{in_words(changes)}: {outcome}"))
        return [outcome] if isinstance(outcome, Candidate) else []

    best = tried({})
    for changes in recipe.rounds:
        so_far = best[0].changes if best else {}
        entrants = best + [one for change in changes for one in tried({**so_far, **change})]
        best = [min(entrants, key=lambda one: float(one.losses.mean()))] if entrants else []
    if not best:
        raise next(one for one in outcomes if isinstance(one, Diverged))
    return [one for one in outcomes if isinstance(one, Candidate)], best[0]


def in_words(changes: Changes) -> str:
    """Name a candidate by what it changes: `augmentation crop + flip, temperature 4`."""
    values = ((name, " + ".join(v) if isinstance(v, tuple) else v) for name, v in changes.items())
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in values) or "as given"


def _attempt(short_copy: Callable[[Changes], Candidate], changes: Changes) -> Candidate | Diverged:
    try:
        return short_copy(changes)
    except Diverged as error:
        return error


def _as_text(outcome: Candidate | Diverged) -> str:
    if isinstance(outcome, Diverged):
        return json.dumps({"diverged": str(outcome)})
    return json.dumps(vars(outcome), default=np.ndarray.tolist)


def _read(path: Path) -> Candidate | Diverged:
    record = json.loads(path.read_text(encoding="utf-8"))
    if "diverged" in record:
        return Diverged(record["diverged"])
    # JSON has lists where recipes have tuples.
    changes = {n: tuple(v) if isinstance(v, list) else v for n, v in record["changes"].items()}
    return Candidate(
        changes, np.array(record["hits"]), np.array(record["losses"]), record["seconds"]
    )


def _trainings(recipe: Recipe) -> int:
    return 1 + sum(map(len, recipe.rounds))


def _divided(recipe: Recipe, images: int) -> _Division:
    epochs = recipe.epochs_for(images)
    final = epochs * recipe.steps_per_epoch(images)
    steps = min(max(_SHARE * final, _LEAST_STEPS), _MOST_STEPS) / _trainings(recipe)
    steps = min(steps, final)
    held_out = min(images // 2, _MOST_HELD_OUT)
    batches = ceil(steps / min(_EPOCHS, epochs))
    learned = min(batches * recipe.batch, images - held_out)
    return _Division(learned, held_out, max(1, round(steps / recipe.steps_per_epoch(learned))))


def _finite(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Refuse logits that a last step has ruined: no loss was computed after it."""
    if not np.isfinite(logits).all():
        raise Diverged("the logits of a short training are no longer finite")
    return logits
