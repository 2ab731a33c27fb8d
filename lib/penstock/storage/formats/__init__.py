"""One file for each format in which a dataset can be at rest."""
