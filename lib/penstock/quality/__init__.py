"""Which rows a dataset takes, which it refuses, and why."""
