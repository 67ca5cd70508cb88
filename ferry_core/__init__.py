"""The engine of mysql-ferry and its command line; it knows nothing of Kubernetes."""

__version__ = "0.1.0"
