"""Manifests: reads YAML files and Secrets, and returns a validated Ferry with two endpoints."""

from ferry_core.manifest.load import LoadedFerry, load

__all__ = ["LoadedFerry", "load"]
