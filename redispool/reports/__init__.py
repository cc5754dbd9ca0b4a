"""Reports: what the commands tell of pools, processes and servers, as rows of plain values."""

from .budget import budget
from .clients import clients
from .config import config
from .doctor import doctor
from .ping import ping
from .report import HELP, Report, Row, Writer
from .stats import stats

__all__ = ["HELP", "REPORTS", "Report", "Row"]

REPORTS: dict[str, Writer] = {
    "stats": stats,
    "ping": ping,
    "config": config,
    "clients": clients,
    "budget": budget,
    "doctor": doctor,
}
