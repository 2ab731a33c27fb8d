"""Datasets that lie in databases: one module for each thing that a database is asked."""
