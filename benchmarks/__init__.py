"""Measurements of T3D against others, and of the choices made in it: `python -m benchmarks KIND`."""
