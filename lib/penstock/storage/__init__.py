"""Datasets at rest: find them, fingerprint them, read them, publish them."""
