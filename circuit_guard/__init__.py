"""circuit_guard: stands before an exchange's forced closures and judges the data that they rest on."""

__version__ = "0.2.0"
