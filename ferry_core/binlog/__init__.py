"""Reading the source's binlog: which rows changed, and up to which position."""
