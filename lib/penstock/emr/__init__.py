"""Amazon EMR: package, preflight, plan, submit, watch, logs, cost; and a local EMR that really runs the work."""
