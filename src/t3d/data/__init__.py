"""Datasets: videos, labels, splits, and torch datasets of clips."""
