"""``flask redispool``: the pools and servers of the application on the command line."""

from __future__ import annotations

import sys

import click
from flask.cli import with_appcontext

from redispool.rendering import FORMATS, run
from redispool.reports import HELP, REPORTS

from .extension import current_factory


@click.command("redispool", help=HELP)
@click.argument("what", type=click.Choice(list(REPORTS)), default="stats")
@click.option("--alias", help="Only this alias of REDISPOOL.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True)
@click.option("--watch", is_flag=True, help="Show it again each second, until Ctrl-C.")
@with_appcontext
def redispool(what: str, alias: str | None, form: str, watch: bool) -> None:
    """Write the report `what`; exit code 1 where something is wrong."""
    try:
        factory = current_factory()
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None
    errors = run(what, factory, sys.stdout, alias=alias, form=form, watch=watch)
    if errors:
        raise click.ClickException("\n".join(errors))
