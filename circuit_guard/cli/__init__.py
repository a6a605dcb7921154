"""The command line. It talks to a running guard over gRPC, or builds and runs one."""

import os

# Before gRPC is imported. It writes errors of its own to standard error, from the thread that serves: every failed
# handshake would be logged, and where nobody reads the log all would stand still.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
