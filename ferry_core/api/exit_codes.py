"""Exit codes of the ``ferry`` command; they are API: an orchestrator decides by them whether to start it again."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The names follow sysexits.h where one fits."""

    DONE = 0
    CONFIG = 64  # the manifest, a credential or a server's setting must change first
    DATA = 65  # rows, schema or binlog make going on wrong; a person must look
    TEMPORARY = 75  # started again it goes on from the checkpoint
    TERMINATED = 143  # SIGTERM or SIGINT: checkpointed and left
