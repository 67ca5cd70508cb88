"""Where a run's state is stored: copied chunks, stream position, stage. One interface, two stores."""
