from tests.models import base, one_thread, tokenizer_files

__all__ = ["base", "one_thread", "tokenizer_files"]
