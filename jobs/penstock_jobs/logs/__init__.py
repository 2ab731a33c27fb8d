"""Log analysis: raw log files to lines, traffic, templates and alerts."""
