"""Where a run's state survives: what is copied, the stream position, the stage. One interface, two stores."""
