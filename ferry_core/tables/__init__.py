"""What a table is: discovery and selection, keys, column codecs, predicates over keys."""
