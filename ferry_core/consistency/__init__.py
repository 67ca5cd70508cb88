"""The rules that make the copy exact, one module per rule. docs/correctness.md explains why each is needed.

R1 ``visibility``, R2 ``table_start``, R3 ``gate``, R4 ``pending``, R5 ``positions`` (with ``prepared`` for XA), and the
``fence``, which keeps every other run from writing to the target.
"""
