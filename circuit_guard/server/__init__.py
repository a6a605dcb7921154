"""The gRPC edge: one file per service, which converts, calls the engine, and converts back."""
