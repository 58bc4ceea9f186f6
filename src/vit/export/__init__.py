"""Usable models out: weights, preprocessing and classes in others' formats, each verified."""
