"""Card fraud: from daily transactions to point-in-time features, rules, a model, decisions and a queue for review."""
