"""The record of runs: who claimed what, under which epoch, and what came of it."""
