"""``kubectl ferry``: shows the Ferries of a cluster and controls them, for a person at a terminal.

A package of its own that imports nothing but the standard library: it starts at once, and it can be shipped to machines
without mysql-ferry as one file (``make release``). It speaks to the cluster through kubectl, so that contexts,
credentials and proxies work as they do there.
"""
