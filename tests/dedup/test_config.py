"""Settings that nothing can be done with are refused in a line that names them; odd ones give the same duplicates."""

from pathlib import Path

import pytest

from pipeline.core.config import ConfigError, load
from pipeline.core.shard_map import Workers
from pipeline.dedup.passages.run import PassagesConfig
from pipeline.dedup.run import DedupConfig, run
from tests.dedup.documents import documents, write_stage
from tests.dedup.test_dedup import fates, long_texts


@pytest.mark.parametrize(
    "setting",
    ["bands=0", "bands=1_000_000_000", "rows=-1", "rows=99999999999999999999", "ngram=0", "ngram=-5",
     "ngram=1_000_000_000_000", "min_jaccard=.nan", "task_memory_mb=0", "unit=line"],
)  # fmt: skip
def test_impossible_settings_of_dedup_are_named(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting.partition("=")[0] + ": expected "):
        load(DedupConfig, None, [setting])


@pytest.mark.parametrize(
    "setting",
    ["decontaminate.ngram=-13", "decontaminate.min_words=1", "decontaminate.cut_chars=99999999999999999999",
     "lines.min_documents=1", "lines.min_chars=0", "substrings.min_words=-50",
     "substrings.min_words=99999999999999999999"],
)  # fmt: skip
def test_impossible_settings_of_passages_are_named(setting: str) -> None:
    with pytest.raises(ConfigError, match=setting.partition("=")[0] + ": expected "):
        load(PassagesConfig, None, [setting])


def test_an_index_behind_a_url_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"s3://bucket/run is a URL; bring it here \(penstock pull s3://"):
        load(DedupConfig, None, ["against=[build/january, s3://bucket/run]"])


def test_a_signature_has_an_end() -> None:
    with pytest.raises(ConfigError, match=r"bands \(1000\) x rows \(17\) are 17000 entries a signature; at most 16384"):
        load(DedupConfig, None, ["bands=1000", "rows=17"])
    assert load(DedupConfig, None, ["bands=450", "rows=20"]).bands == 450  # RefinedWeb's


def test_a_row_may_be_larger_than_the_budget(workers: Workers, tmp_path: Path) -> None:
    """A pair with both signatures takes 131 kB here, and of 1 MiB a task holds a twelfth at once."""
    texts = long_texts(2)
    clean = write_stage(tmp_path, {"a": documents("a", [*texts, *(text.replace(",", ";") for text in texts[:1])])})
    found = fates(run(DedupConfig(bands=16, rows=1024, task_memory_mb=1), clean, tmp_path, workers))
    assert sorted(reason for reason, _ in found.values()) == ["", "", "near_duplicate"]
