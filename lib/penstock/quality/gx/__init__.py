"""Great Expectations: its suites and results as documents, and itself as another engine where it is installed."""
