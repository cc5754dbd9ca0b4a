"""The dashboard and the tables in ``docs/``: what they ask of Prometheus is what there is."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from redispool import PoolFactory
from redispool.prometheus import HostCollector
from tests.support import Valkey

DOCS = Path(__file__).parents[2] / "docs"
DASHBOARD = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = DASHBOARD["panels"]
VARIABLES = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
QUERIES = [each["definition"] for each in VARIABLES.values() if each["type"] == "query"]

OF_THE_TARGET = {"instance", "job"}
"""Labels that Prometheus adds."""
OF_PROMETHEUS = {"count", "sum", "max", "min", "rate", "increase", "histogram_quantile"}
OF_GRAFANA = {"label_values"}


@pytest.fixture(scope="module")
def exported(server: Valkey) -> Iterator[dict[str, set[str]]]:
    """The names of all samples of the collector, each with its labels."""
    registry = CollectorRegistry()
    with PoolFactory(server.url) as factory:
        factory.client().ping()
        registry.register(HostCollector(factory))
        found: dict[str, set[str]] = {}
        for family in registry.collect():
            for sample in family.samples:
                found[sample.name] = {*sample.labels}
        yield found


def groups(expression: str) -> set[str]:
    """The labels by which an expression groups."""
    found = re.findall(r"\bby \(([^)]*)\)", expression)
    return {label.strip() for labels in found for label in labels.split(",")}


@pytest.mark.parametrize("expression", EXPRESSIONS + QUERIES)
def test_every_expression_asks_for_what_there_is(
    expression: str, exported: dict[str, set[str]]
) -> None:
    """Names are those of samples, and each label that is asked for is one of all of them."""
    names = re.findall(r"\bredispool_\w+", expression)
    assert names
    assert not set(names) - exported.keys()

    for name, selector in re.findall(r"(redispool_\w+)\{([^}]*)\}", expression):
        matched = re.findall(r'(\w+)=~?"', selector)
        assert not {*matched} - exported[name] - OF_THE_TARGET
    common = set.intersection(*(exported[name] for name in names)) | OF_THE_TARGET
    assert not groups(expression) - common


@pytest.mark.parametrize("expression", EXPRESSIONS + QUERIES)
def test_every_expression_is_well_formed(expression: str) -> None:
    """Brackets are closed; functions and variables exist; no name is left that nobody knows."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    while bare != (bare := re.sub(r"\([^()[\]{}]*\)|\[[^()[\]{}]*\]|\{[^()[\]{}]*\}", "", bare)):
        pass
    assert not set("()[]{}") & set(bare)

    assert {*re.findall(r"(\w+)\(", expression)} <= OF_PROMETHEUS | OF_GRAFANA
    assert {*re.findall(r"\$(\w+)", expression)} <= VARIABLES.keys() | {"__rate_interval"}
    # A counter is asked for its rate, before anything is summed: see `HostCollector`.
    for name in re.findall(r"redispool_\w+_(?:total|bucket|count|sum)\b", expression):
        assert re.search(
            rf"(?:rate|increase)\({name}\{{[^}}]*\}}\[\$__rate_interval\]\)", expression
        )


def test_legends_name_labels_that_are_left() -> None:
    """What a legend shows is a label by which the expression groups."""
    for panel in PANELS:
        for target in panel["targets"]:
            shown = {*re.findall(r"{{(\w+)}}", target["legendFormat"])}
            assert shown <= groups(target["expr"])


def test_every_metric_has_its_place(exported: dict[str, set[str]]) -> None:
    """What is exported is on the dashboard, but for a few that stand beside others."""
    asked = {name for each in EXPRESSIONS for name in re.findall(r"\bredispool_\w+", each)}
    beside = {
        "redispool_checks_total",
        "redispool_max_waiting_requests",
        "redispool_min_idle_connections",
        "redispool_pool_closed",
        "redispool_pool_start_time_seconds",
        "redispool_use_seconds_count",
        "redispool_wait_seconds_count",
        "redispool_wait_seconds_sum",
    }

    assert exported.keys() - asked == beside


def test_the_page_on_metrics_names_all_and_no_others(exported: dict[str, set[str]]) -> None:
    """Tables, alerts and examples of ``docs/metrics.md`` are of metrics that there are."""
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    named = {*re.findall(r"\bredispool_[a-z_]+", page)}
    parts = r"_(?:bucket|count|sum)$"
    families = {re.sub(parts, "", name) for name in exported}

    assert {re.sub(parts, "", name) for name in named} == families


def test_panels_have_numbers_and_places_of_their_own() -> None:
    """Each panel says what it shows, none covers another, and none is wider than the page."""
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = {*itertools.product(columns, range(place["y"], place["y"] + place["h"]))}
        assert not taken & cells
        assert max(columns) < 24
        taken |= cells
        assert panel["description"].endswith(".")
        assert panel["datasource"]["uid"] == "${datasource}"
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
