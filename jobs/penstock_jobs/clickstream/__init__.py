"""Clickstream: from raw events to page views, sessions, users, funnels, attribution and retention."""
