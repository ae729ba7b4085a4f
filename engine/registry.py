"""name -> object. A registry walks its package, so a new file is a new entry."""

import importlib
import pkgutil
from typing import Any, Generic, TypeVar

from engine.types import UserError

T = TypeVar("T")


class Registry(Generic[T]):
    """Collects what the modules of `package` list in a module-level tuple called `attribute`.

    Entries need a `name`. `skip` names modules that are shared parts, not entries. The walk happens on first use, so that
    importing a registry costs nothing.
    """

    def __init__(self, package: str, attribute: str, kind: str, *, skip: tuple[str, ...] = ()) -> None:
        self.package, self.attribute, self.kind, self.skip = package, attribute, kind, skip
        self._entries: dict[str, T] | None = None

    def entries(self) -> dict[str, T]:
        if self._entries is None:
            root = importlib.import_module(self.package)
            found: dict[str, T] = {}
            for module_info in sorted(pkgutil.iter_modules(root.__path__), key=lambda m: m.name):
                if module_info.name in self.skip:
                    continue
                module = importlib.import_module(f"{self.package}.{module_info.name}")
                entry: Any
                for entry in getattr(module, self.attribute, ()):
                    if entry.name in found:
                        raise ValueError(f"{self.kind} {entry.name!r} is registered twice")
                    found[entry.name] = entry
            self._entries = found
        return self._entries

    def names(self) -> list[str]:
        return list(self.entries())

    def get(self, name: str) -> T:
        """Raises UserError naming the known ones when `name` is unknown."""
        entries = self.entries()
        if name not in entries:
            raise UserError(f"unknown_{self.kind}", name=name, known=", ".join(entries))
        return entries[name]
