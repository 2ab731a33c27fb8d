"""Hands the registry that the user's pip is set up for on to uv, which does not read pip's configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache

_VARIABLES = (
    ("index-url", "UV_DEFAULT_INDEX", " "),
    ("extra-index-url", "UV_INDEX", " "),
    ("find-links", "UV_FIND_LINKS", ","),
    ("trusted-host", "UV_INSECURE_HOST", " "),
    ("cert", "SSL_CERT_FILE", " "),
)


@cache
def registry_environment() -> dict[str, str]:
    """The variables of this process, with those of uv that are not set."""
    found: dict[str, tuple[int, str]] = {}
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    for line in listed.splitlines():
        name, _, value = line.partition("=")
        scope, _, key = name.strip().rpartition(".")
        rank = {"global": 0, "install": 1, ":env:": 2}.get(scope)
        if rank is not None and rank >= found.get(key, (0, ""))[0]:
            # pip writes a list as one word for each line of the option.
            found[key] = rank, " ".join(value.strip().strip("'\"").replace("\\n", " ").split())
    environ = dict(os.environ)
    for key, variable, joint in _VARIABLES:
        if found.get(key, (0, ""))[1]:
            environ.setdefault(variable, joint.join(found[key][1].split()))
    return environ
