"""The command line. It talks to a running guard over gRPC, or builds and runs one."""
