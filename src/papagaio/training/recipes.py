"""The recipes by name, for natural images and for small ones. A new one is one entry here."""

from dataclasses import replace

from papagaio.errors import BadSettings
from papagaio.networks.own import SMALL_SIDE
from papagaio.responses import Response
from papagaio.training.recipe import Recipe

__all__ = ["default_recipe", "recipe_named", "recipe_names"]

# As written in the thesis (section 4.4, equation 2): cross-entropy on the stored answers at
# temperature 1, Adam, batches of 32, 100 epochs, no augmentation.
_THESIS = Recipe("thesis")

# What the answers allow: they give the black box's logits back, up to a constant an image, so the
# student is held to those. Learning rates were chosen in short trials, see docs/recipes.md.
_RECOVERED_LOGITS = Recipe(
    "recovered-logits",
    loss="centred-l2",
    optimiser="adamw",
    rate=4e-3,
    decay=0.05,
    muon=0.12,
    schedule="one-cycle",
    batch=128,
    epochs=60,
    augmentation=("crop", "flip"),
)
_LABELS = replace(_RECOVERED_LOGITS, name="labels", loss="cross-entropy", smoothing=0.05)
_NATURAL = {recipe.name: recipe for recipe in (_RECOVERED_LOGITS, _LABELS, _THESIS)}

# Small images are drawn things more often than not, and mirrored they mean something else.
_SMALL_RECOVERED_LOGITS = Recipe(
    "recovered-logits",
    loss="centred-l2",
    optimiser="adamw",
    rate=6e-3,
    decay=1e-4,
    schedule="one-cycle",
    batch=64,
    epochs=10,
    least_steps=300,
)
_SMALL_LABELS = Recipe(
    "labels",
    loss="cross-entropy",
    optimiser="adamw",
    rate=3e-3,
    decay=1e-4,
    schedule="one-cycle",
    batch=32,
    epochs=20,
    least_steps=600,
    augmentation=("affine",),
    fade=500,
    smoothing=0.05,
)
_SMALL = {recipe.name: recipe for recipe in (_SMALL_RECOVERED_LOGITS, _SMALL_LABELS, _THESIS)}


def recipe_names() -> list[str]:
    """Every recipe's name."""
    return list(_NATURAL)


def recipe_named(name: str, shape: tuple[int, int, int]) -> Recipe:
    """The recipe of that name for images of this height, width and channels.

    Raises:
        BadSettings: there is none.
    """
    recipes = _SMALL if min(shape[:2]) < SMALL_SIDE else _NATURAL
    if name not in recipes:
        raise BadSettings(f"recipe {name}: there is none; there are {', '.join(recipes)}")
    return recipes[name]


def default_recipe(response: Response) -> str:
    """The recipe that makes the best copy from a response: `labels` where no score is seen."""
    return "labels" if response == "label" else "recovered-logits"
