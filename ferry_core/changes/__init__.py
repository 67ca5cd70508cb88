"""Changes on the source since its rows were read: the change buffer, and the flush generations that empty it."""
