"""Would every job import on EMR? Follows imports through the archives without running anything, for any platform."""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

from penstock.emr.facts import PREINSTALLED, SPARKS_OWN, Image
from penstock.emr.manifest import Manifest
from penstock.emr.preflight.archives import AGAIN, Contents
from penstock.emr.preflight.finding import Finding

_IMAGE_MODULES = {
    "pyspark",
    "py4j",
    "delta",
    "numpy",
    "pandas",
    "pyarrow",
    "dateutil",
    "pytz",
    "six",
    "boto3",
    "botocore",
}
_GROUP = "penstock.jobs"


def check_entry(folder: Path, manifest: Manifest, image: Image) -> Iterator[Finding]:
    """The program that is started."""
    path = folder / manifest.entry.file
    if not path.is_file():
        return
    if not path.name.endswith(".py"):
        would = "spark-submit takes it for a jar."
        yield Finding("entry_not_python", f"{path.name} is no Python file.", would, AGAIN)
        return
    if problem := _syntax(path.read_bytes(), image):
        yield Finding("entry_syntax", f"{path.name}: {problem}", "The driver ends at once with a SyntaxError.", AGAIN)


def check_jobs(code: Contents, deps: Contents, image: Image) -> Iterator[Finding]:
    """Every job's module with all that it imports when it is loaded."""
    points = _entry_points(code)
    if not points:
        yield Finding(
            "no_jobs",
            "No job is registered in the archive (entry points of the group penstock.jobs).",
            "penstock run JOB: there is no such job.",
            "Install your package of jobs beside Penstock, and package again.",
        )
    have = _modules(code) | _modules(deps)
    seen: dict[str, set[str]] = {}
    for job, target in sorted(points.items()):
        module = target.partition(":")[0]
        path = _path_of(module, code)
        if path is None:
            yield Finding(
                "job_missing",
                f"The job {job} is {target}, and the archive has no module {module}.",
                f"ModuleNotFoundError: No module named '{module}'",
                f"The entry point leads out of the package: mend it in pyproject.toml. {AGAIN}",
            )
            continue
        for missing, importer in sorted(_missing(module, code, have, seen).items()):
            yield Finding(
                "module_missing",
                f"The job {job} imports {missing} (in {importer}), which is in no archive and not in the image.",
                f"ModuleNotFoundError: No module named '{missing}'",
                f"Add it: penstock package --requirement {missing}",
            )
        if problem := _syntax(code.texts[path], image):
            would = f"SyntaxError when the job {job} is loaded."
            yield Finding("job_syntax", f"{path}: {problem}", would, "Mend it; EMR's Python is " + image.python + ".")


def check_requirements(deps: Contents, image: Image) -> Iterator[Finding]:
    """What packages in the archive say that they need."""
    have = {_normal(match[1]) for name in deps.names if (match := re.match(r"([^/]+)-[^-/]+\.dist-info/", name))}
    have |= PREINSTALLED | SPARKS_OWN
    for name, text in sorted(deps.texts.items()):
        if not name.endswith(".dist-info/METADATA"):
            continue
        for line in re.findall(r"^Requires-Dist: (.+)$", text.decode("utf-8", "replace"), re.MULTILINE):
            if (needed := _needed(line, image)) and needed not in have:
                yield Finding(
                    "requirement_missing",
                    f"{name.split('-')[0]} needs {needed}, which is in no archive and not in the image.",
                    f"ModuleNotFoundError or ImportError as soon as {needed} is used.",
                    f"Add it: penstock package --requirement {needed}",
                )


def _needed(line: str, image: Image) -> str | None:
    from packaging.requirements import InvalidRequirement, Requirement

    try:
        requirement = Requirement(line)
    except InvalidRequirement:
        return None
    target = {
        "python_version": image.python,
        "python_full_version": f"{image.python}.9",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "os_name": "posix",
        "platform_python_implementation": "CPython",
        "implementation_name": "cpython",
        "extra": "",
    }
    if requirement.marker is not None and not requirement.marker.evaluate(target):
        return None
    return _normal(requirement.name)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _entry_points(code: Contents) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, text in code.texts.items():
        if name.endswith(".dist-info/entry_points.txt"):
            parser = configparser.ConfigParser(delimiters=("=",))
            parser.read_string(text.decode("utf-8"))
            if parser.has_section(_GROUP):
                found |= dict(parser.items(_GROUP))
    return found


def _modules(contents: Contents) -> set[str]:
    """Top-level modules and packages."""
    return {re.split(r"[/.]", name)[0] for name in contents.names}


def _path_of(module: str, contents: Contents) -> str | None:
    base = module.replace(".", "/")
    return next((path for path in (f"{base}.py", f"{base}/__init__.py") if path in contents.texts), None)


def _missing(module: str, code: Contents, have: AbstractSet[str], seen: dict[str, set[str]]) -> Mapping[str, str]:
    """Modules that loading `module` would not find, with who imports them."""
    found: dict[str, str] = {}
    todo, done = [module], set[str]()
    while todo:
        at = todo.pop()
        if at in done:
            continue
        done.add(at)
        path = _path_of(at, code)
        if path is None:
            continue
        if at not in seen:
            seen[at] = set(_imports(code.texts[path]))
        for name in seen[at]:
            top = name.partition(".")[0]
            if top in sys.stdlib_module_names or top in _IMAGE_MODULES:
                continue
            if top not in have:
                found.setdefault(top, at)
            else:
                todo += [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 2)]
    return found


def _imports(source: bytes) -> Iterator[str]:
    """What a module imports when it is loaded: not in functions, not for types only, not where it may fail."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return
    todo: list[ast.stmt] = list(tree.body)
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" not in ast.dump(node.test):
            todo += [*node.body, *node.orelse]
        elif isinstance(node, ast.If):
            todo += node.orelse
        elif isinstance(node, ast.With | ast.ClassDef):
            todo += node.body


def _syntax(source: bytes, image: Image) -> str | None:
    major, minor = image.python.split(".")
    try:
        ast.parse(source, feature_version=(int(major), int(minor)))
    except SyntaxError as error:
        return f"line {error.lineno}: {error.msg}"
    return None
