"""The ControlServer: how people, the CLI and the operator speak to a run over HTTP, and the status page."""
