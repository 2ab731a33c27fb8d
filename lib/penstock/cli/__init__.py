"""The command line: thin, it parses, calls and prints."""

from __future__ import annotations

from penstock.cli.main import main

__all__ = ["main"]
