"""The running guard: the engine, and what keeps it going."""
