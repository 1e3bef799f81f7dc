from tests.models import base, tokenizer_files

__all__ = ["base", "tokenizer_files"]
