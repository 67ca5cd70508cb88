"""The coordinator: phases and hand-over of one Ferry's run. Short, because the rooms do the work."""
