"""What a run leaves for people and programs to read: run.json, the page, the failure card, terminal tables."""
