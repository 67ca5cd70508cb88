"""The threads that move data: streamer, copy workers, flusher, their sessions and retries. Controlled by ``run``."""
