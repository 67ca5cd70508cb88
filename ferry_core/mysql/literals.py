"""Identifiers and literals in SQL text. Used wherever a statement is built."""


def identifier(name: str) -> str:
    """A name in backticks, for example ``a`b`` becomes ```a``b```."""
    return "`" + name.replace("`", "``") + "`"


def qualified(schema: str, name: str) -> str:
    """``schema.name`` with both parts quoted."""
    return f"{identifier(schema)}.{identifier(name)}"


def string(text: str) -> str:
    """A utf8mb4 string literal, safe whatever the session's sql_mode and character sets."""
    return f"_utf8mb4 0x{text.encode().hex()}" if text else "''"


def binary(value: bytes) -> str:
    """A binary string literal."""
    return f"0x{value.hex()}" if value else "_binary ''"
