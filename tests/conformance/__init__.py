"""The conformance list: what a pool must do under interruption, misuse, and failure."""
