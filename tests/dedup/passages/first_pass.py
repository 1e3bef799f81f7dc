"""A filter with its first pass over some files, without the stage around it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.clean.verdict import Filter
from pipeline.core.plugins import PluginConfig
from pipeline.core.schema import Document
from pipeline.core.shard_map import Workers


def surveyed(
    plugin: Any, config: PluginConfig, files: Sequence[Sequence[Document]], folder: Path, workers: Workers
) -> Filter:
    """`folder`: a new one."""
    folder.mkdir()
    paths = [folder / f"{number}.survey" for number in range(len(files))]
    for path, documents in zip(paths, files, strict=True):
        plugin.survey(config, documents, path)
    plugin.merge_on(config, paths, folder / "merged", workers)
    built: Filter = plugin.build(config, folder / "merged")
    return built
