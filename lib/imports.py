"""Import a package while its own imports of another package wait until the imported names are used."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any


class DeferredName:
    """A name of a module that is imported when the name is called, subclassed, or asked for an attribute.

    Args:
        module: The module's full name.
        name: The name within the module.
    """

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _resolve(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._resolve()(*args, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._resolve(), name)

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self._resolve(),)

    def __instancecheck__(self, instance: object) -> bool:
        return isinstance(instance, self._resolve())


class _DeferredModule(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return DeferredName(self.__name__, name)


class _Finder:
    """Find an empty stand-in for a package and for each of its modules."""

    def __init__(self, package: str) -> None:
        self._package = package

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        if name != self._package and not name.startswith(f"{self._package}."):
            return None
        return ModuleSpec(name, self, is_package=True)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _DeferredModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Leave the stand-in empty: `_DeferredModule` answers for every name."""


@contextmanager
def deferred(package: str) -> Iterator[None]:
    """Within this context, what other packages import from `package` is a `DeferredName`.

    MONAI imports all of its modules at once, which takes longer than everything else that a server needs to answer.

    Args:
        package: The package; nothing changes if it was imported before.
    """
    if package in sys.modules:
        yield
        return
    finder = _Finder(package)
    sys.meta_path.insert(0, finder)  # type: ignore[arg-type]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)  # type: ignore[arg-type]
        for name in [name for name, module in sys.modules.items() if isinstance(module, _DeferredModule)]:
            del sys.modules[name]
