"""Programs that feed the guard's entrances with whatever a mutating fuzzer makes up. `make fuzz` runs them all."""
