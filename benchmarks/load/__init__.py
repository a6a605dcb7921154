"""What the guard costs: throughput, latency, CPU and memory, beside a server that does nothing and beside Redis.

    python -m benchmarks.load [--quick]

Everything in one run on one machine, and one table. docs/performance.md explains it.
"""
