"""The engine: one loop, one writer, and what watches it."""
