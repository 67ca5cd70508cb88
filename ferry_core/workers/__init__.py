"""The threads that move data: streamer, copy and flush workers, their sessions and retries. Driven by ``run``."""
