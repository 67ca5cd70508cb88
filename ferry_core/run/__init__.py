"""The coordinator: phases and cutover of one Ferry's run. Small, because other packages do the work."""
