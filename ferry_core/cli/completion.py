"""``ferry completion``: the script that completes ``ferry`` in a shell. Registered by ``main``."""

import click
from click.shell_completion import get_completion_class

_VARIABLE = "_FERRY_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that completes ferry in bash, zsh or fish."""
    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(context.find_root().command, {}, "ferry", _VARIABLE).source(), nl=False)
