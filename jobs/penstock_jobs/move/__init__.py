"""Jobs that move data between datasets that their parameters name."""
