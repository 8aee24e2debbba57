"""Measurements: distortion, other codecs to compare with, BD-rates, the report."""
