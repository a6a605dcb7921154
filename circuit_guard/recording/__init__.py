"""Recordings: the public format of DESIGN 8, and running one through the core."""
