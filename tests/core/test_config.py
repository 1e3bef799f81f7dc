from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from pydantic import BeforeValidator, Field

from pipeline.core import config, plugins
from pipeline.core.errors import ConfigError


class Optim(config.Config):
    lr: float = 1e-3
    """Peak learning rate."""
    warmup_steps: int = 10


Source = Annotated[Any, BeforeValidator(lambda section: plugins.parse("pipeline.sources", section))]


class Run(config.Config):
    steps: int
    optim: Optim = Optim()
    sources: tuple[Source, ...] = ()


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_file_extends_others_and_set_comes_last(tmp_path: Path) -> None:
    write(tmp_path, "shelf/a.yaml", "steps: 5\noptim: {lr: 1e-4, warmup_steps: 3}")
    file = write(tmp_path, "b.yaml", "extends: shelf/a.yaml\noptim: {warmup_steps: 4}")
    run = config.load(Run, file, ["steps=7"])
    assert (run.steps, run.optim.lr, run.optim.warmup_steps) == (7, 1e-4, 4)


def test_set_reaches_into_lists(tmp_path: Path) -> None:
    file = write(tmp_path, "a.yaml", "steps: 5\nsources: [wikipedia, {name: jsonl, paths: [a]}]")
    run = config.load(Run, file, ["sources.1.text_field=body", "sources.0.tables=lines", "sources.1.paths.0=b"])
    assert (run.sources[0].tables, run.sources[1].text_field, run.sources[1].paths) == ("lines", "body", ("b",))
    for setting, message in (
        ("sources.2.paths=[a]", "'2' is none of the 2 items of a list, which are counted from 0"),
        ("sources.wikipedia.tables=lines", "'wikipedia' is none of the 2 items"),
        ("optim.0.lr=1", "the config has no list there"),
    ):
        with pytest.raises(ConfigError, match=message):
            config.load(Run, file, [setting])


def test_every_mistake_at_once_with_path_and_near_match(tmp_path: Path) -> None:
    file = write(tmp_path, "a.yaml", "stepz: 5\noptim: {lrr: 1, warmup_steps: many}")
    with pytest.raises(ConfigError) as caught:
        config.load(Run, file)
    lines = str(caught.value).splitlines()
    assert any("stepz: unknown key; did you mean 'steps'?" in line for line in lines)
    assert any("steps: required, but not given" in line for line in lines)
    assert any("optim.lrr: unknown key; did you mean 'lr'?" in line for line in lines)
    assert any("optim.warmup_steps" in line and "'many'" in line for line in lines)


class Wanted(config.Config):
    count: int = Field(1, ge=1, le=9)
    share: float = Field(0.5, gt=0, lt=1)
    is_on: bool = False
    name: str = Field("abc", min_length=2)
    form: Literal["a", "b"] = "a"
    paths: tuple[str, ...] = Field(("x",), min_length=1)
    shares: dict[int, float] = Field({})
    optim: Optim = Optim()


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("count=many", "count: expected a whole number, found 'many'"),
        ("count=1.5", "count: expected a whole number, found 1.5"),
        ("count=", "count: expected a whole number, found null"),
        ("count=0", "count: expected at least 1, found 0"),
        ("count=10", "count: expected at most 9, found 10"),
        ("share=half", "share: expected a number, found 'half'"),
        ("share=.inf", "share: expected a finite number, found inf"),
        ("share=0", "share: expected more than 0, found 0"),
        ("share=1", "share: expected less than 1, found 1"),
        ("is_on=perhaps", "is_on: expected true or false, found 'perhaps'"),
        ("name=5", "name: expected text, found 5"),
        ("name=x", "name: expected at least 2 characters, found 'x'"),
        ("form=c", "form: expected 'a' or 'b', found 'c'"),
        ("paths=x", "paths: expected a list, found 'x'"),
        ("paths=[]", "paths: expected at least 1 in the list, found a list of 0"),
        ("paths=[a, true]", "paths.1: expected text, found true"),
        ("shares=[1, 2]", "shares: expected a section of keys and values, found a list of 2"),
        ("optim=fast", "optim: expected a section of keys and values, found 'fast'"),
        ("optim.lr={a: 1, b: 2}", "optim.lr: expected a number, found a section with a, b"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_wanted(setting: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        config.load(Wanted, None, [setting])
    assert str(caught.value) == f"config: {said}"


def test_unknown_plugin_and_its_unknown_key_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"sources\.0: unknown name 'wikipedi'; did you mean 'wikipedia'"):
        config.load(Run, None, ["steps=1", "sources=[wikipedi]"])
    with pytest.raises(ConfigError, match=r"sources\.0\.pathz: unknown key; did you mean 'paths'"):
        config.load(Run, None, ["steps=1", "sources=[{name: wikipedia, pathz: []}]"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: 1\nsteps: 2", "'steps' is given twice"),
        ("steps: [", "not valid YAML"),
        ("- 1", "expected keys at the top level, found a list"),
        ("extends: missing.yaml", "cannot read config .*missing.yaml"),
        ("extends: a.yaml", "extends itself"),
        ("extends: 5", "expected a file name or a list of them, found 5"),
        ("steps: 2024-02-30", "not valid YAML"),
        ("steps: \x01", "not valid YAML"),
        ("? [a]\n: 1", "keys are words|not valid YAML"),
        ("[" * 3000, "not valid YAML"),
    ],
)
def test_bad_files_are_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config.load(Run, write(tmp_path, "a.yaml", text))


def test_setting_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected key=value"):
        config.load(Run, None, ["steps"])
