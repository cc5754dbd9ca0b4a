"""Benchmarks: the figures of the documentation, measured side by side in one run."""
