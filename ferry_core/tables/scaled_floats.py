"""Which FLOAT(M,D) may hold a value that the server prints but does not accept. Pure; used by ``codecs`` and ``keys``.

The largest value of such a type is stored as the nearest float, which may be above it: 9999999.999 as 10000000.
"""

import math
import re
import struct


def largest_below_its_float(column_type: str) -> float | None:
    """The largest value of this FLOAT(M,D), if servers refuse the float as which they store it. Otherwise None.

    Computed as servers do, which round to D decimals first (measured for all M up to 59 on both families).
    """
    scale = re.match(r"float\((\d+),(\d+)\)", column_type)
    if not scale:
        return None
    digits, decimals = int(scale[1]), int(scale[2])
    unit = 10.0**decimals
    largest = 10.0 ** (digits - decimals) - 1.0 / unit
    try:
        (stored,) = struct.unpack("<f", struct.pack("<f", largest))
    except OverflowError:  # the range of FLOAT is the limit
        return None
    whole = math.floor(stored)
    return largest if whole + round((stored - whole) * unit) / unit > largest else None
