"""The Kubernetes operator: runs one copier Pod per Ferry and reports its state in the Ferry's status."""

import sys
from importlib.util import find_spec, module_from_spec

# Of ``kubernetes`` only kubernetes.aio's client and config are used, but each package imports all of its siblings: the
# synchronous client, requests, oauthlib, jsonschema; 10 MiB. Here they are folders to import from, and no more.
for _name in ("kubernetes", "kubernetes.aio"):
    if _name not in sys.modules:
        _found = find_spec(_name)
        if _found is None:
            break  # ``__main__`` says so
        sys.modules[_name] = module_from_spec(_found)
