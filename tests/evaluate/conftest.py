from tests.models import base, tokenizer_files
from tests.prepared import prepared

__all__ = ["base", "prepared", "tokenizer_files"]
