"""`python -m circuit_guard` is the command `circuit-guard`."""

from circuit_guard.cli.main import main

main()
