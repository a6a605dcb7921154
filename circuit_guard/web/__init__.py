"""The status page: what is halted, why, since when and who may lift it. HTTP, read-only, beside the metrics."""
