"""The dashboard: one page with the pools of every process, the same in all frameworks."""

from .pages import Answer, Dashboard

__all__ = ["Answer", "Dashboard"]
