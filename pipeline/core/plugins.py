"""Plugins: a plugin is found by its file name. `name: wikipedia` in `sources` IS pipeline/sources/wikipedia.py.

A plugin module holds a `Config` class (what its YAML section may say) and the functions its folder's `run.py` names.
Nothing is registered, so a plugin cannot be forgotten in a list.
"""

import difflib
import importlib
import importlib.util
import pkgutil
from functools import cache
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from pipeline.core.config import Config
from pipeline.core.errors import missing_package


class PluginMistake(ValueError):
    """A plugin's section that its Config refuses; `config.describe` reads the two to name every field."""

    def __init__(self, error: ValidationError, model: type[Config]) -> None:
        super().__init__(str(error))
        self.error, self.model = error, model


class PluginConfig(Config):
    name: str
    """File name of the plugin, without .py."""


@cache
def names(package: str) -> tuple[str, ...]:
    """Plugins of a package: its modules that define `Config` (run.py and the like do not)."""
    folder = importlib.import_module(package)
    found = (module.name for module in pkgutil.iter_modules(folder.__path__))
    return tuple(sorted(name for name in found if _defines_config(package, name)))


def load(package: str, name: str) -> ModuleType:
    """The plugin module; raises ValueError naming the near match, so that pydantic reports the dotted path, and
    UserError naming a library that it needs and that is not there."""
    if name not in names(package):
        close = difflib.get_close_matches(name, names(package), n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names(package))}"
        raise ValueError(f"unknown name '{name}'; {hint}")
    try:
        return importlib.import_module(f"{package}.{name}")
    except ImportError as error:
        raise missing_package(error, f"{name} ({package})") or error from None


def parse(package: str, section: Any) -> Any:
    """A YAML section (or just a name) as the `Config` of the plugin it names; for pydantic's BeforeValidator."""
    if isinstance(section, PluginConfig):
        return section
    if isinstance(section, str):
        section = {"name": section}
    if not isinstance(section, dict) or not isinstance(section.get("name"), str):
        raise ValueError(f"expected a plugin: its name, or a mapping with 'name'; known: {', '.join(names(package))}")
    model = load(package, section["name"]).Config
    try:
        return model.model_validate(section)
    except ValidationError as error:
        raise PluginMistake(error, model) from None


def _defines_config(package: str, name: str) -> bool:
    """Read from the source, not by importing: importing every plugin would import every heavy library."""
    spec = importlib.util.find_spec(f"{package}.{name}")
    if spec is None or spec.origin is None:
        return False
    with open(spec.origin, encoding="utf-8") as source:
        return any(line.startswith("class Config(") for line in source)
