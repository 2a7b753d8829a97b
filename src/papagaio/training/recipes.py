"""The recipes by name, for natural images and for small ones. A new one is one entry here."""

from dataclasses import replace

from papagaio.errors import BadSettings
from papagaio.networks.own import SMALL_SIDE
from papagaio.training.recipe import Changes, Recipe
from papagaio.vocabulary import Response

__all__ = ["AUTO", "auto_recipe", "default_recipe", "recipe_named", "recipes_for"]

# The name of the default: what is chosen on held-out answers, for each response.
AUTO = "auto"

# Wrong wherever the black box is not invariant to them, so they are tried.
_AUGMENTATIONS: tuple[Changes, ...] = tuple(
    {"augmentation": names} for names in (("crop",), ("flip",), ("crop", "flip"))
)

# As written in the thesis (section 4.4, equation 2): cross-entropy on the stored answers at
# temperature 1, Adam, batches of 32, 100 epochs, no augmentation.
_THESIS = Recipe("thesis")

# Full answers give the black box's logits up to one constant per image, so the copy is trained on
# those. Learning rates were chosen in short trials, see docs/recipes.md.
_RECOVERED_LOGITS = Recipe(
    "recovered-logits",
    loss="centred-l2",
    optimiser="adamw",
    rate=4e-3,
    decay=0.05,
    muon=0.12,
    schedule="one-cycle",
    batch=128,
    least_batches=32,
    epochs=60,
    rounds=(_AUGMENTATIONS,),
)
# Rounded answers and the highest few give bounds of the logits instead.
_CENSORED_LOGITS = replace(_RECOVERED_LOGITS, name="censored-logits", loss="censored-l2")
_LABELS = replace(
    _RECOVERED_LOGITS, name="labels", loss="cross-entropy", smoothing=0.05, least_batches=0
)
_NATURAL = {
    recipe.name: recipe for recipe in (_RECOVERED_LOGITS, _CENSORED_LOGITS, _LABELS, _THESIS)
}

# Small images are usually drawings, whose meaning changes when they are mirrored.
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
# The less an answer shows, the more augmentation helps; see docs/recipes.md.
_SMALL_CENSORED_LOGITS = replace(
    _SMALL_RECOVERED_LOGITS,
    name="censored-logits",
    loss="censored-l2",
    epochs=20,
    least_steps=600,
    augmentation=("affine",),
    fade=500,
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
_SMALL = {
    recipe.name: recipe
    for recipe in (_SMALL_RECOVERED_LOGITS, _SMALL_CENSORED_LOGITS, _SMALL_LABELS, _THESIS)
}

# What `auto` changes in a response's own recipe: from few labels, longer is better, and no short
# training could show it.
_SMALL_CHANGES: dict[str, Changes] = {"labels": {"least_steps": 1200}}

# What `auto` tries in addition to the rounds of that recipe.
_SMALL_ROUNDS: dict[str, tuple[tuple[Changes, ...], ...]] = {
    "recovered-logits": (
        ({"augmentation": ("affine",), "fade": 500, "epochs": 20, "least_steps": 600},),
    ),
}


def auto_recipe(response: Response, resolution: float, shape: tuple[int, int, int]) -> Recipe:
    """Return the recipe `auto`: the default one for a response, and all that is tried instead.

    Args:
        response: what an answer shows.
        resolution: the step of its scores, or 0 if they have none.
        shape: height, width and channels of the images.
    """
    name = default_recipe(response, resolution)
    own = replace(recipes_for(shape)[name], name=AUTO)
    if not _is_small(shape):
        return own
    rounds = (*own.rounds, *_SMALL_ROUNDS.get(name, ()))
    return replace(own, **_SMALL_CHANGES.get(name, {}), rounds=rounds)


def _is_small(shape: tuple[int, ...]) -> bool:
    return min(shape[:2]) < SMALL_SIDE


def recipes_for(shape: tuple[int, ...]) -> dict[str, Recipe]:
    """Return the recipes for images of this height, width and channels, by name."""
    return _SMALL if _is_small(shape) else _NATURAL


def recipe_named(name: str, shape: tuple[int, int, int]) -> Recipe:
    """Return a recipe for images of this height, width and channels.

    Raises:
        BadSettings: there is no recipe of that name; `auto` is made by `auto_recipe`.
    """
    recipes = recipes_for(shape)
    if name == AUTO:
        raise BadSettings(
            "depends on the response; call papagaio.training.recipes.auto_recipe",
            field="recipes",
            value=name,
        )
    if name not in recipes:
        known = ", ".join((AUTO, *recipes))
        raise BadSettings(f"no such recipe; choose from {known}", field="recipes", value=name)
    return recipes[name]


def default_recipe(response: Response, resolution: float = 0.0) -> str:
    """Return the name of the recipe that makes the best copy from a response.

    Args:
        response: what an answer shows.
        resolution: the step of its scores, or 0 if they have none.
    """
    if response == "probabilities" and not resolution:
        return "recovered-logits"
    return "labels" if response == "label" else "censored-logits"
