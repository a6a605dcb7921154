"""Envoy's external authorization: a mesh asks the guard before it lets a closure through."""
