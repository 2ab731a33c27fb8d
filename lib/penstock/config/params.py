"""The parameters of a job, from configuration, variables and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from penstock.config.check import located
from penstock.config.text import check_boolean, from_text
from penstock.config.yaml import Node, as_node
from penstock.errors import ConfigurationError, UsageError, did_you_mean
from penstock.job import Job, Params


@dataclass(frozen=True)
class Given:
    """What was given for a job.

    Attributes:
        conf: Its file in `jobs/`.
        variables: What variables set, by job and field in small letters.
        sets: What the command line sets.
    """

    conf: Node | None
    variables: Mapping[tuple[str, str], Node]
    sets: Mapping[str, str]

    def over(self, params: Node) -> Given:
        """The same with parameters of `nightly.yaml` over those of the job's file."""
        below = self.conf.value if self.conf is not None and isinstance(self.conf.value, dict) else {}
        above = params.value if isinstance(params.value, dict) else {}
        return replace(self, conf=Node({**below, **above}, (self.conf or params).origin))


def typed(job: Job, given: Given) -> Params:
    """The parameters as the job declares them.

    Raises:
        UsageError: The command line is wrong, or says nothing where something is needed.
        ConfigurationError: A file or a variable is wrong.
    """
    fields = job.params.model_fields
    nodes: dict[str, Node] = {}
    for name, node in _conf(job, given.conf).items():
        nodes[name] = node
        if name in fields:
            _checked(job, name, node, fields[name])
    for (of, name), node in given.variables.items():
        if of == _shouted(job.of or job.name):
            real = _field(job, name, node.origin, ConfigurationError)
            nodes[real] = _read(job, real, node, fields[real], ConfigurationError)
    for name, text in given.sets.items():
        _field(job, name, f"--set {name}={text}", UsageError, exact=True)
        nodes[name] = _read(job, name, Node(text, f"--set {name}={text}"), fields[name], UsageError)
    try:
        return job.params.model_validate({name: node.plain() for name, node in nodes.items()})
    except ValidationError as error:
        raise _explained(error, job, nodes) from error


def _conf(job: Job, conf: Node | None) -> dict[str, Node]:
    if conf is None:
        return {}
    if not isinstance(conf.value, dict):
        raise ConfigurationError(f"{conf.origin}: the parameters of {job.name} must be a mapping.")
    return conf.value


def _field(job: Job, name: str, origin: str, kind: type[ConfigurationError], *, exact: bool = False) -> str:
    for real in job.params.model_fields:
        if real == name or (not exact and real.lower() == name):
            return real
    raise kind(
        f"{origin}: the job {job.name} has no parameter {name}.", hint=did_you_mean(name, job.params.model_fields)
    )


def _read(job: Job, name: str, node: Node, info: FieldInfo, kind: type[ConfigurationError]) -> Node:
    try:
        return as_node(from_text(str(node.value), info.annotation), node.origin)
    except ValueError as error:
        raise kind(f"{node.origin}: {job.name}.{name}: {error} (it is {node.value!r}).") from error


def _checked(job: Job, name: str, node: Node, info: FieldInfo) -> None:
    try:
        check_boolean(node.value, info.annotation)
    except ValueError as error:
        raise ConfigurationError(f"{node.origin}: {job.name}.{name}: {error} (it is {node.value!r}).") from error


def _explained(error: ValidationError, job: Job, nodes: Mapping[str, Node]) -> ConfigurationError:
    findings = error.errors(include_url=False)
    found = located(error, job.params, Node(dict(nodes), f"the parameters of {job.name}"), f"{job.name}.")
    first = findings[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    if first["type"] == "missing" and len(first["loc"]) == 1:
        return UsageError(f"The job {job.name} needs the parameter {name}.", hint=f"Add --set {name}=…")
    if name in nodes and nodes[name].origin.startswith("--set "):
        return UsageError(found.message, evidence=found.evidence)
    return found


def _shouted(job: str) -> str:
    """A job's name as variables have it, in small letters."""
    return job.lower().replace("-", "_")
