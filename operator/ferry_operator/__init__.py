"""The Kubernetes operator: turns each Ferry into one copier Pod and says in status what becomes of it."""
