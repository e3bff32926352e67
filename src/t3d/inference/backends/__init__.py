"""Engines that score exported networks: one file a backend."""
