"""The gRPC edge: one file a service, each converts, calls the engine, converts back."""
