"""The pure core: no clock, no I/O, no logging, standard library only. Read `types`, `guard`, one rule, one scenario."""
