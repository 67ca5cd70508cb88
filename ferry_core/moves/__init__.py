"""The selected tables on their way: a ``TableMove`` each, in the run's ``MoveSet``. Nothing else is keyed by table."""
