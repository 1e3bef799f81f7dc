"""Configuration: YAML files plus `--set a.b=c` in; one frozen pydantic model out, or every mistake at once.

1. A file is sparse YAML. `extends: [other.yaml, ...]` (paths relative to the file) is merged first, key by key.
2. `--set a.b=c` is merged last; its value is YAML (`--set optim.lr=1e-4`, `--set sources='[{name: jsonl}]'`), a number
   in its path a place in a list (`--set sources.0.text_field=body`).
3. The model of the verb validates the result. Unknown keys are refused with a near match.

Defaults live in the models alone. PyYAML keeps the last of two equal keys and reads 1e-4 as text: the loader here
refuses the first and pydantic mends the second.
"""

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.core.errors import ConfigError

C = TypeVar("C", bound="Config")


class Config(BaseModel):
    """Base of every config section: frozen, no unknown keys, a docstring under each field."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True,
                              allow_inf_nan=False)  # fmt: skip


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise ConfigError(
                    f"{key_node.start_mark.name}: line {key_node.start_mark.line + 1}: keys are words, not {key!r}"
                )
            if key in seen:
                raise ConfigError(
                    f"{key_node.start_mark.name}: line {key_node.start_mark.line + 1}: '{key}' is given twice"
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def load(model: type[C], file: Path | None, settings: Sequence[str] = ()) -> C:
    """`file` with its `extends` and `settings` ("a.b=c") as a `model`; raises ConfigError."""
    tree = read_tree(file) if file else {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        if not equals or not path:
            raise ConfigError(f"--set {setting}: expected key=value, e.g. --set optim.lr=1e-4")
        tree = _with(tree, path.strip().split("."), _parse(text, f"--set {path}"), f"--set {path}")
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        where = str(file) if file else "config"
        raise ConfigError("\n".join(f"{where}: {line}" for line in describe(error, model))) from None


def read_tree(file: Path, above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The merged mapping of a YAML file and what it extends."""
    file = Path(file)
    if file.resolve() in above:
        raise ConfigError(f"{file}: extends itself")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read config {file}: {getattr(error, 'strerror', None) or error}") from None
    tree = _parse(text, str(file))
    if tree is None:
        tree = {}
    if not isinstance(tree, dict):
        raise ConfigError(f"{file}: expected keys at the top level, found a {type(tree).__name__}")
    parents = tree.pop("extends", [])
    merged: dict[str, Any] = {}
    if isinstance(parents, str):
        parents = [parents]
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
        raise ConfigError(f"{file}: extends: expected a file name or a list of them, found {parents!r}")
    for parent in parents:
        merged = merge(merged, read_tree(file.parent / parent, (*above, file.resolve())))
    return merge(merged, tree)


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`above` over `below`, mapping by mapping; lists and scalars are replaced whole."""
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def describe(error: ValidationError, model: type[BaseModel], above: str = "") -> Iterable[str]:
    """One line per mistake: dotted path, what is wrong, the nearest known key."""
    for item in sorted(error.errors(), key=lambda item: item["type"] == "missing"):  # a typo before what it left out
        path = above + ".".join(str(part) for part in item["loc"]) or "(top level)"
        within: Any = item.get("ctx", {}).get("error")
        if isinstance(getattr(within, "error", None), ValidationError):  # a plugin's own section
            yield from describe(within.error, within.model, above=path + ".")
        elif item["type"] == "extra_forbidden":
            known = _known_keys(model, item["loc"][:-1])
            close = difflib.get_close_matches(str(item["loc"][-1]), known, n=1)
            hint = f"; did you mean '{close[0]}'?" if close else f"; known: {', '.join(sorted(known))}" if known else ""
            yield f"{path}: unknown key{hint}"
        elif item["type"] == "missing":
            yield f"{path}: required, but not given (add it to the file, or --set {path}=...)"
        elif wanted := _WANTED.get(item["type"]):
            yield f"{path}: expected {wanted.format(**item.get('ctx', {}))}, found {_shown(item['input'])}"
        else:
            message = item["msg"].removeprefix("Value error, ")
            given = item["input"]
            shown = f" (given: {given!r})" if isinstance(given, (str, int, float, bool)) else ""
            yield f"{path}: {message}{shown}"


_WANTED = {  # kind of pydantic's error: what was to be given
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type"), "a list"),
    **dict.fromkeys(("dict_type", "model_type", "model_attributes_type"), "a section of keys and values"),
    "finite_number": "a finite number", "string_type": "text", "path_type": "a path", "literal_error": "{expected}",
    "greater_than": "more than {gt:.15g}", "greater_than_equal": "at least {ge:.15g}",
    "less_than": "less than {lt:.15g}", "less_than_equal": "at most {le:.15g}",
    "string_too_short": "at least {min_length} characters", "string_too_long": "at most {max_length} characters",
    "too_short": "at least {min_length} in the list", "too_long": "at most {max_length} in the list",
}  # fmt: skip


def _shown(given: Any) -> str:
    """As YAML would have it, in few words."""
    if isinstance(given, (list, tuple)):
        return f"a list of {len(given)}"
    if isinstance(given, dict):
        return f"a section with {', '.join(map(str, given))}" if given else "an empty section"
    if given is None or isinstance(given, bool):
        return "null" if given is None else str(given).lower()
    return repr(given)


def _known_keys(model: Any, path: Sequence[Any]) -> list[str]:
    """Field names of the section at `path`; empty where the section is a plugin that chose its own model."""
    for part in path:
        if isinstance(part, int):
            continue
        fields = getattr(model, "model_fields", {})
        if part not in fields:
            return []
        model = fields[part].annotation
        while not hasattr(model, "model_fields") and get_args(model):
            model = next((a for a in get_args(model) if hasattr(a, "model_fields") or get_args(a)), None)
    return list(getattr(model, "model_fields", {}))


def _with(tree: Any, keys: Sequence[str], value: Any, where: str) -> Any:
    """`tree` with `value` at the path; a number is a place in a list, whose items are sections or names of plugins."""
    if not keys:
        return merge(tree, value) if isinstance(tree, dict) and isinstance(value, dict) else value
    key, rest = keys[0], keys[1:]
    if isinstance(tree, list):
        if not key.isdecimal() or int(key) >= len(tree):
            raise ConfigError(f"{where}: '{key}' is none of the {len(tree)} items of a list, which are counted from 0; "
                              f"a list can also be given whole, in brackets")  # fmt: skip
        item = {"name": tree[int(key)]} if rest and isinstance(tree[int(key)], str) else tree[int(key)]  # a plugin
        return [*tree[: int(key)], _with(item, rest, value, where), *tree[int(key) + 1 :]]
    if key.isdecimal():
        raise ConfigError(f"{where}: the config has no list there; give it whole, in brackets")
    below = tree if isinstance(tree, dict) else {}
    return below | {key: _with(below.get(key), rest, value, where)}


def _parse(text: str, where: str) -> Any:
    try:
        loader = _Loader(text)
        loader.name = where
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        line = f": line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise ConfigError(f"{where}{line}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a control character, 30 February, 3,000 brackets
        raise ConfigError(f"{where}: not valid YAML: {str(error).splitlines()[0]}") from None
