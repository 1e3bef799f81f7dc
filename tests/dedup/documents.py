"""Documents for the tests of dedup, tokenizer and shards: docstrings of the standard library, written as a stage."""

import ast
import sysconfig
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from pipeline.core.manifest import run_stage
from pipeline.core.schema import Document, document_id
from pipeline.core.tables import DocumentWriter

MODULES = ("argparse", "collections/__init__", "datetime", "decimal", "difflib", "doctest", "heapq", "inspect",
           "optparse", "os", "pathlib", "pickle", "random", "shutil", "socket", "statistics", "string", "subprocess",
           "tarfile", "textwrap", "threading", "turtle", "typing", "unittest/mock", "zipfile")  # fmt: skip


@cache
def docstrings(min_chars: int = 200) -> tuple[str, ...]:
    """Distinct texts of real prose and code, about half a megabyte."""
    texts: dict[str, None] = {}
    for module in MODULES:
        tree = ast.parse(Path(sysconfig.get_path("stdlib"), f"{module}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)):
                text = ast.get_docstring(node) or ""
                if len(text) >= min_chars:
                    texts[text] = None
    return tuple(texts)


def documents(source: str, texts: Iterable[str]) -> list[Document]:
    return [
        Document(doc_id=document_id(source, f"{number}", text.encode()), source=source, key=f"{number}",
                 origin=f"{source}.txt:{number}", text=text)
        for number, text in enumerate(texts)
    ]  # fmt: skip


def write_stage(root: Path, files: Mapping[str, Iterable[Document]], stage: str = "clean") -> Path:
    """A finished stage folder with one "<name>.documents.parquet" per item: {"books-00000": [...]}"""

    def body(folder: Path) -> dict[str, int]:
        num_documents = 0
        for name, rows in files.items():
            private = folder / name
            private.mkdir()
            with DocumentWriter(private, stage) as writer:
                for document in rows:
                    writer.keep(document)
            for path in private.iterdir():
                path.rename(folder / f"{name}.{path.name}")
            private.rmdir()
            num_documents += writer.counts["kept"]
        return {"documents": num_documents}

    return run_stage(stage, 1, {"files": sorted(files)}, {}, root, body)
