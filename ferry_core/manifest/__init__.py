"""Manifests: YAML files and Secrets in, a checked Ferry with two endpoints out."""

from ferry_core.manifest.load import LoadedFerry, load

__all__ = ["LoadedFerry", "load"]
