"""Training: a recipe, images and targets -> weights; one loop for every network in the package."""
