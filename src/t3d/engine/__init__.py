"""How a model learns and is judged: the loop, its hooks, scoring, metrics, weights files, reports."""
