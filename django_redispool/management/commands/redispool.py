"""``python manage.py redispool``: the pools and servers of the project on the command line."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_redispool.pools import pools
from redispool.rendering import FORMATS, run
from redispool.reports import HELP, REPORTS


class Command(BaseCommand):
    """Write one of redispool's reports."""

    help = HELP

    def add_arguments(self, parser: CommandParser) -> None:
        """Add what, --alias, --format and --watch."""
        parser.add_argument("what", nargs="?", choices=list(REPORTS), default="stats")
        parser.add_argument("--alias", help="Only this alias of REDISPOOL.")
        parser.add_argument("--format", choices=FORMATS, default="table")
        parser.add_argument(
            "--watch", action="store_true", help="Show it again each second, until Ctrl-C."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the report; exit code 1 where something is wrong."""
        try:
            factory = pools.factory
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        self.stdout.ending = ""  # what is written in pieces gets no line ends in between
        errors = run(
            options["what"],
            factory,
            self.stdout,
            alias=options["alias"],
            form=options["format"],
            watch=options["watch"],
        )
        if errors:
            raise CommandError("\n".join(errors))
