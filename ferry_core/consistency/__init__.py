"""The rules that make the copy exact, one module a rule; docs/correctness.md tells why each is needed.

R1 ``visibility``, R2 ``table_start``, R3 ``gate``, R4 ``pending``, R5 ``positions`` (with ``prepared`` for XA), and the
``fence`` that keeps every other run out of the target.
"""
