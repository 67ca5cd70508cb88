"""What a run reports about itself: one thread-safe ``Progress`` that its threads write and everyone else reads."""
