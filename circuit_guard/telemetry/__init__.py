"""What the guard tells about itself: log lines and metrics."""
