from tests.models import base, one_thread, tokenizer_files
from tests.prepared import prepared

__all__ = ["base", "one_thread", "prepared", "tokenizer_files"]
