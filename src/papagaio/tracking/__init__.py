"""Trackers: programs outside of a run that are sent its settings, epochs and scores as well."""
