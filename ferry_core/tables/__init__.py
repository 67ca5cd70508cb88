"""Tables: discovery and selection, keys, column codecs, predicates over keys."""
