"""Prevents core dumps: the memory of a process holds passwords and rows. Called first by each command.

``kubectl_ferry`` does the same by itself, because it works without this package.
"""

import resource


def prevent() -> None:
    """For this process and those that it starts, for good."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
