"""Training: recipe, images and answers -> weights; one loop for every network in the package."""
