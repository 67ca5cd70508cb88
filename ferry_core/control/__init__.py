"""The ControlServer: the HTTP interface of a run for people, the CLI and the operator, and the status page."""
