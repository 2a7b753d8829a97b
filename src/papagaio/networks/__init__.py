"""Networks: built by name for the classes and image size at hand, started from weights, frozen."""
