"""Weights that others published: which files are understood, reading them, and inflating 2D weights to 3D."""
