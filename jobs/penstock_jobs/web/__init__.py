"""What the clickstream jobs share: the event schema, mappings, classification, the session kernel."""
