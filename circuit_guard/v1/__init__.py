"""The gRPC contract in Python, generated from protos/circuit_guard/v1 by scripts/generate_stubs.py."""
