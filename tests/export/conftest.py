from tests.models import one_thread
from tests.prepared import prepared

__all__ = ["one_thread", "prepared"]
