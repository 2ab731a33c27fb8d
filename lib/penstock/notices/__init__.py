"""Tells people that a night needs them, or no longer does: once, in one message, wherever they look."""
