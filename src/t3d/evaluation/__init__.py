"""Evaluation of scores: metrics, significance, fusion, reports."""
