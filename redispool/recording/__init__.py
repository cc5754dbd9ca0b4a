"""Recording: what one request, task or test asks of Redis, for panels and for the curious.

Nothing of it is loaded before somebody records; `swapping` says what commands pay meanwhile.
"""

from .recorder import Leased, Recorded, Recorder, record
from .report import report, title

__all__ = ["Leased", "Recorded", "Recorder", "record", "report", "title"]
