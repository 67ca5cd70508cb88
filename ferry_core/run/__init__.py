"""The coordinator: phases and cutover of one Ferry's run. Short, because the rooms do the work."""
