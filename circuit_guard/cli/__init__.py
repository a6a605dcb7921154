"""The command line. It talks to a running guard over gRPC, or builds and runs one."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # before gRPC is imported: else every failed handshake is logged
