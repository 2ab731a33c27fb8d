"""`F` and `Window`: PySpark's, but imported only when something of them is used.

Importing PySpark takes longer than most commands do, and a job's module is imported just to list the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import Window as Window  # noqa: PLC0414  # the redundant alias marks it as exported
    from pyspark.sql import functions as F
else:
    from importlib import import_module
    from typing import Any

    class _Lazy:
        """A stand-in for a module, or for one attribute of a module, that is imported on first use."""

        __slots__ = ("__dict__", "_attribute", "_module")

        def __init__(self, module: str, attribute: str | None = None) -> None:
            self._module = module
            self._attribute = attribute

        def _target(self) -> Any:
            module = import_module(self._module)
            return module if self._attribute is None else getattr(module, self._attribute)

        def __getattr__(self, name: str) -> Any:
            # Doctest, inspect and copy ask every object for names such as __wrapped__: no reason to start importing.
            if name.startswith("__") and name.endswith("__"):
                raise AttributeError(name)
            value = getattr(self._target(), name)
            self.__dict__[name] = value
            return value

        def __dir__(self) -> list[str]:
            return dir(self._target())

        def __repr__(self) -> str:
            return f"<lazy {'.'.join(part for part in (self._module, self._attribute) if part)}>"

        def __reduce__(self) -> tuple[type[_Lazy], tuple[str, str | None]]:
            # What is cached would not survive the way to a worker.
            return _Lazy, (self._module, self._attribute)

    F = _Lazy("pyspark.sql.functions")
    Window = _Lazy("pyspark.sql", "Window")

__all__ = ["F", "Window"]
