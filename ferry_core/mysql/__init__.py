"""MySQL and MariaDB: endpoints, sessions, flavors, GTIDs, identifiers and literals. Knows no tables."""
