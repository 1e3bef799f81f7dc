from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import BeforeValidator

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
