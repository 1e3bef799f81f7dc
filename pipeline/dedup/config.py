"""What the dedup stage is told."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.core.config import Config
from pipeline.core.storage import is_url
from pipeline.dedup.signatures.minhash import MinHash

MAX_ENTRIES = 16_384  # four bytes each, of every document; RefinedWeb has the most we know of, 9,000


class DedupConfig(Config):
    urls: bool = True
    """Of several captures of one web page keep the newest, whatever their texts."""
    exact: bool = True
    """Drop texts that differ in case and white space at most."""
    near: bool = True
    """Drop texts that share most of their n-grams."""
    unit: Literal["word", "character"] = "word"
    """What n-grams are made of."""
    ngram: int = Field(5, ge=1, le=10_000)
    """Words (or characters) in a row that are compared; documents with fewer are compared whole."""
    bands: int = Field(14, ge=1, le=10_000)
    """Bands of the MinHash signature; more bands find less similar pairs (`penstock dedup curve` shows which)."""
    rows: int = Field(8, ge=1, le=10_000)
    """Signature entries per band; more rows need more similar pairs."""
    min_jaccard: float = Field(0.7, ge=0, le=1)
    """A pair found by a band is linked when its estimated similarity is at least this; 0 links every such pair."""
    verify: bool = False
    """Read the texts of each pair found: it is linked when the true similarity of their n-grams is `min_jaccard`."""
    source_priority: tuple[str, ...] = ()
    """Of two duplicates the one from the source that comes first here stays; then the others, by name."""
    quality_field: str = ""
    """Of two duplicates from one source that with the greater number in this entry of `meta` stays, then the longer."""
    against: tuple[Path, ...] = ()
    """Earlier runs (their output folders, made with `keep_index: true`): what is in them already is dropped here."""
    keep_index: bool = False
    """Also write index/: what later runs need in order to name these documents, without their texts."""
    task_memory_mb: int = Field(192, ge=1)
    """Working memory of a task in MiB, beyond its process; what is more lies on disk. Does not change the output."""

    @field_validator("against", mode="before")
    @classmethod
    def _against_is_here(cls, given: Any) -> Any:
        """As a Path it would be a folder that holds no index."""
        for folder in given if isinstance(given, (list, tuple)) else ():
            if is_url(folder):
                raise ValueError(f"{folder} is a URL; bring it here (penstock pull {folder} DIR) and name the folder")
        return given

    @model_validator(mode="after")
    def _signature_is_not_too_large(self) -> "DedupConfig":
        if self.bands * self.rows > MAX_ENTRIES:
            raise ValueError(f"bands ({self.bands}) x rows ({self.rows}) are {self.bands * self.rows} entries a "
                             f"signature; at most {MAX_ENTRIES}")  # fmt: skip
        return self

    def minhash(self) -> MinHash:
        return MinHash(self.ngram, self.bands, self.rows, self.unit)
