"""Recipes: named lists of filters that mean the same tomorrow. A recipe is a config file with a `clean` section:

    clean:
      recipe: fineweb
      pin: 2f6c1b0a9d3e
      filters: [unicode, ...]

A data config takes one by `extends: recipes/fineweb.yaml`. The pin is a hash over every threshold of every filter,
defaults included, and the splitter: a changed default, another splitter or a filter that a config replaced beneath the
name is refused, with the new pin. Those that are shipped lie in RECIPES.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict
from rich.console import Console
from rich.table import Table

from pipeline.clean.run import CleanConfig
from pipeline.core.config import Config, load
from pipeline.core.errors import UserError

RECIPES = Path(__file__).parents[2] / "configs" / "data" / "recipes"


class RecipeFile(Config):
    """Any config with a `clean` section; what else it says is not the recipe's."""

    model_config = ConfigDict(extra="ignore")

    clean: CleanConfig


def names() -> list[str]:
    """The recipes that are shipped."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def file_of(name: str) -> Path:
    """A recipe's file, by its name or its path; raises UserError."""
    if name in names():
        return RECIPES / f"{name}.yaml"
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name)
    raise UserError(f"no recipe '{name}'; known: {', '.join(names())}, or the path of a YAML file with `clean:`")


def read(name: str) -> CleanConfig:
    return load(RecipeFile, file_of(name)).clean


@dataclass(frozen=True)
class Short:
    """A recipe on one line. The comment that opens its file says it first, as "# For: ..." and "# Source: ..."."""

    name: str
    use: str
    source: str


def in_short(name: str) -> Short:
    said = dict(line.split(": ", 1) for line in _comment(name) if line.startswith(("For: ", "Source: ")))
    return Short(name, said["For"], said["Source"])


def show(recipes: Sequence[Short]) -> None:
    table = Table("recipe", "for", "source", box=None, pad_edge=False)
    for one in recipes:
        table.add_row(one.name, one.use, one.source)
    Console(markup=False, highlight=False).print(table)


def about(name: str) -> str:
    """The comment that opens a recipe's file, but for what `in_short` says."""
    return " ".join(line for line in _comment(name) if not line.startswith(("For: ", "Source: ")))


def _comment(name: str) -> list[str]:
    lines = file_of(name).read_text(encoding="utf-8").splitlines()
    end = next((at for at, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return [line.removeprefix("#").strip() for line in lines[:end]]
