"""What a run says about itself: one thread-safe ``Progress`` that all threads write and everybody else reads."""
