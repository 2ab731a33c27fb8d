"""Models on any table: train, score, decide which version is used."""
