"""The samples' own tests, run as their READMEs say."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from run import SAMPLES, Sample


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
def test_own_tests_pass(sample: Sample) -> None:
    """``pytest`` in the directory of the sample passes, and finds something to test."""
    unset = ("DJANGO_SETTINGS_MODULE", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "REDIS_URL")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=sample.directory,
        env={name: value for name, value in os.environ.items() if name not in unset},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stdout
