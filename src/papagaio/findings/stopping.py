"""Why no more answers were bought."""

from papagaio.numbers import count, percent, with_interval
from papagaio.result import Result

__all__ = ["stopping"]


def stopping(result: Result) -> str:
    """Why asking stopped, in a sentence; empty where the whole budget was asked at once."""
    until = result.until
    if until is None or until.outcome is None:
        return ""
    last, goal = until.rounds[-1], percent(until.goal)
    why = {
        "reached": f"the goal of {goal} is reached",
        "budget spent": f"the budget is spent, and the interval is not above the goal of {goal}",
        "out of reach": f"the budget will not reach the goal of {goal}",
    }
    return (
        f"Asking stopped after {count(last.bought)} answers, because {why[until.outcome]}: copies"
        f" from {count(last.budget)} name the model\u2019s class on {with_interval(last.fidelity)}"
        f" of {count(last.fidelity.n)} held-out transfer images."
    )
