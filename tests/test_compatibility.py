from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tests.redis_py import listed

PAGE = (Path(__file__).parents[1] / "docs" / "compatibility.md").read_text(encoding="utf-8")
TEXT = re.sub(r"\s+", " ", PAGE)
GROUPS = listed.groups()


@pytest.mark.parametrize("group", GROUPS, ids=[group.title for group in GROUPS])
def test_each_difference_has_its_reason_in_the_docs(group: listed.Group) -> None:
    """What redis-py's tests find different is told to users, in the words of the list."""
    assert f"### {group.title}\n" in PAGE
    assert group.reason in TEXT


def test_the_docs_tell_of_no_difference_that_is_gone() -> None:
    """Each heading for a difference has its tests in the list."""
    assert re.findall("^### (.*)$", PAGE, re.MULTILINE) == [group.title for group in GROUPS]


def test_each_file_that_is_left_out_has_its_reason_in_the_docs() -> None:
    """The files of redis-py's suite that are not run are named, with the reason."""
    for name, reason in listed.files_left_out().items():
        assert f"`{name}`" in TEXT
        assert reason in TEXT


def test_a_test_differs_for_one_reason() -> None:
    """No entry stands in the list twice."""
    entries = Counter(test for group in GROUPS for test in group.tests)

    assert [test for test, times in entries.items() if times > 1] == []


@pytest.mark.parametrize(
    ("test", "named"),
    [("a.py::T::one", True), ("a.py::T::one[x]", True), ("a.py::T::one_more", False)],
)
def test_an_entry_names_a_test_with_all_its_parameters(test: str, named: bool) -> None:
    """An entry is the id of a test, without its parameters where all of them are meant."""
    assert listed.fits("a.py::T::one", test) is named
    assert listed.fits("a.py::T", test)
