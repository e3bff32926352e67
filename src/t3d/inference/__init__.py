"""Scoring videos with a trained network, by any backend, and exporting it."""
