"""The engine of mysql-ferry and its command line. It has no dependency on Kubernetes."""

__version__ = "0.1.0"
