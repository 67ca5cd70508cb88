"""What MySQL and MariaDB are: endpoints, sessions, flavors, GTIDs, identifiers and literals. Knows no tables."""
