"""The selected tables of a run: one ``TableMove`` each, in the run's ``MoveSet``. Nothing else is keyed by table."""
