"""Training: pre-train, train, mine, average. See docs/training.md."""
