"""A laboratory beside the guard: faults, accounts, and judges to compare. The guard itself imports nothing of it."""
