"""Decoding, sampling and transforming frames."""
