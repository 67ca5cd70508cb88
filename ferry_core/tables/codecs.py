"""How values of one column are transferred: as SQL text that one server writes and the other reads, never decoded here.

A codec provides four SQL texts: the *field* (source expression that renders a value as LOAD DATA text, the word NULL
for NULL), the *assignment* (how the target converts a field that cannot be stored unchanged), the *key literal*
(expression that renders a value as an SQL literal) and the *hash expression* (never NULL, equal on both servers).
They are valid in sessions with binary and with utf8mb4 literals, except that text fields differ.
Used by ``rows`` to copy, by ``verify`` to compare, by the iterator for chunk bounds.

Forms of key literals. A key from the binlog should have the same form (a difference costs an additional delete, never
a row):

    integers, YEAR, BIT, ENUM, SET   42              -7  (ENUM and SET by number, YEAR as 2024 or 0)
    DECIMAL                          1.50            as the server prints the column
    FLOAT, DOUBLE                    1.5e0  1e300    shortest text of the double, with an exponent
                                     0.15e1 -0.1e301 between families
    DATE, TIME, DATETIME, TIMESTAMP  '2024-01-31 10:00:00.123456'    TIMESTAMP in UTC
    text                             _gbk 0xa4e9     introducer of the column's character set; empty: _gbk ''
    BINARY, VARBINARY                0x00ff          BINARY padded to its length; empty: _binary ''
    UUID, INET4, INET6               _utf8mb4'2001:db8::1'   as the server prints it
"""

from dataclasses import dataclass

from ferry_core.errors import ConfigError
from ferry_core.mysql.flavor import Flavor
from ferry_core.mysql.literals import identifier
from ferry_core.reasons import Reason
from ferry_core.tables.scaled_floats import largest_below_its_float
from ferry_core.tables.table import Column

INTEGERS = frozenset({"tinyint", "smallint", "mediumint", "int", "bigint"})
TEMPORALS = frozenset({"date", "time", "datetime", "timestamp"})
TEXTS = frozenset({"char", "varchar", "tinytext", "text", "mediumtext", "longtext"})
BINARIES = frozenset({"binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob"})
GEOMETRIES = frozenset(
    {
        "geometry",
        "point",
        "linestring",
        "polygon",
        "multipoint",
        "multilinestring",
        "multipolygon",
        "geomcollection",
        "geometrycollection",
    }
)


@dataclass(frozen=True)
class Codec:
    """Base class: values whose text needs no quotes and is the same in every session (integers, DECIMAL)."""

    column: Column
    flavor: Flavor

    @property
    def name(self) -> str:
        """The column's quoted name."""
        return identifier(self.column.name)

    @property
    def value(self) -> str:
        """The expression whose text is exactly the value."""
        return self.name

    @property
    def unbounded(self) -> bool:
        """Whether one value may be so long that its row must be copied as a big row."""
        return False

    def field(self, *, text_session: bool) -> str:  # noqa: ARG002 - text columns need it
        return f"IFNULL({self.value},'NULL')" if self.column.nullable else self.value

    def literal(self, *, text_session: bool) -> str:
        """The field as a literal of REPLACE ... VALUES, for targets that refuse LOAD DATA LOCAL."""
        return self.field(text_session=text_session)

    @property
    def introducer(self) -> str:
        """What precedes the quotes of such a literal."""
        return ""

    def assignment(self, variable: str) -> str | None:  # noqa: ARG002 - others need it
        """The SET expression over the user variable that holds the field. None: the field is stored unchanged."""
        return None

    def key_literal(self) -> str:
        return self.value

    def hash_expression(self) -> str:
        """Never NULL and without a comma, so that CONCAT_WS(',', ...) over several is unambiguous."""
        return f"IFNULL({self.value},'N')" if self.column.nullable else self.value

    def changed_expression(self) -> str | None:
        """A condition that is true where the value cannot be transferred exactly. None: it always can."""
        return None


class _Integer(Codec):
    @property
    def value(self) -> str:
        # ZEROFILL prints leading zeros; YEAR 0 prints 0000. The literal is the same.
        return f"{self.name}+0" if "zerofill" in self.column.column_type else self.name


class _Year(Codec):
    """Four digits in a file, where 0 would mean 2000; a number in a comparison."""

    def key_literal(self) -> str:
        return f"{self.name}+0"


class _Double(Codec):
    """All digits. MySQL truncates the text of a DOUBLE expression to 22 characters, and -2.2250738585072014e-308 has
    24.

    It truncates neither a bare column nor a JSON number; MariaDB truncates nothing. A column DOUBLE(M,D) prints D
    decimals, too few for small values, so it is not used bare. Multiplied by one, because adding zero would lose the
    sign of -0.
    """

    @property
    def value(self) -> str:
        return self.digits if self._scaled else self.name

    @property
    def digits(self) -> str:
        """All digits of the value as a double, whatever the column would print."""
        times = f"{self.name}*1e0"
        return f"CAST(CAST({times} AS JSON) AS CHAR)" if self.flavor is Flavor.MYSQL else f"CONCAT({times})"

    @property
    def _scaled(self) -> bool:
        return "(" in self.column.column_type or "zerofill" in self.column.column_type

    def key_literal(self) -> str:
        # MySQL 8.0.15 prints a column's 0.0000035, and 8.0.33 its 3.5e-6; as JSON numbers they print alike. The
        # verification pairs the rows of both servers by this text.
        digits = self._canonical
        # Without an exponent the literal would be a DECIMAL.
        return f"IF({self.name}=0,'0e0',CONCAT({digits},IF(LOCATE('e',{digits})>0,'','e0')))"

    def literal(self, *, text_session: bool) -> str:  # noqa: ARG002 - digits in every session
        # In quotes, because the number -0 is 0.
        return f"IFNULL(CONCAT('''',{self.value},''''),'NULL')"

    @property
    def _canonical(self) -> str:
        """The digits without the mark of a double in JSON, which MySQL 5.7 does not print."""
        return f"TRIM(TRAILING '.0' FROM {self.digits})" if self.flavor is Flavor.MYSQL else self.digits

    def hash_expression(self) -> str:
        # SQL treats -0 and 0 as equal, and newer releases of MariaDB (10.11.19, 11.8) store 0 for both.
        signless = f"IF({self.name}=0,'0',{self._canonical})"
        return f"IFNULL({signless},'N')" if self.column.nullable else signless


class _Float(_Double):
    """Converted to a double, because a bare FLOAT prints six digits.

    Even truncated to 22 characters it keeps the nine needed.

    The largest value of a FLOAT(M,D) may be printed as a larger one, which servers refuse. Such a field is loaded as
    the largest value, which is stored as the same float.
    """

    @property
    def value(self) -> str:
        return f"{self.name}*1e0"

    def literal(self, *, text_session: bool) -> str:  # noqa: ARG002 - digits in every session
        accepted = self._accepted(self.value) or self.value
        return f"IFNULL(CONCAT('''',{accepted},''''),'NULL')"

    def assignment(self, variable: str) -> str | None:
        return self._accepted(variable)

    def _accepted(self, value: str) -> str | None:
        largest = largest_below_its_float(self.column.column_type)
        if largest is None:
            return None
        limit = f"{largest:.17e}"
        return f"IF(ABS({value})>{limit},SIGN({value})*{limit},{value})"

    @property
    def _scaled(self) -> bool:
        return True


class _Number(Codec):
    """BIT, ENUM and SET as numbers: their text is bytes or may look like a number itself.

    Converted by ``| 0``: adding zero makes a SET a double, and MariaDB's CAST warns about numbers from 2^63 on.
    """

    @property
    def value(self) -> str:
        return f"({self.name}|0)"

    def assignment(self, variable: str) -> str | None:
        return f"CAST({variable} AS UNSIGNED)"


class _Choice(_Number):
    """ENUM and SET are transferred by number and also compared by text: the meaning of a number depends on the table's
    members.
    """

    def hash_expression(self) -> str:
        # Without its length, unlike other texts: the number tells where this one ends.
        both = f"CONCAT({self.value},':',CAST({self.name} AS BINARY))"
        return f"IFNULL({both},'N')" if self.column.nullable else both


class _Temporal(Codec):
    def field(self, *, text_session: bool) -> str:  # noqa: ARG002 - digits in every session
        return f"QUOTE({self.name})"

    def key_literal(self) -> str:
        return f"CONCAT('''',{self.name},'''')"


class _Bytes(Codec):
    """Text, binary and geometry: the stored bytes, so that no character set can change them."""

    @property
    def value(self) -> str:
        return f"CAST({self.name} AS BINARY)"

    @property
    def unbounded(self) -> bool:
        return True

    def field(self, *, text_session: bool) -> str:
        if not text_session:
            return f"QUOTE({self.value})"
        # QUOTE wants text that is valid in character_set_connection (MySQL error 3854); REPLACE over binary does not.
        escaped = f"REPLACE(REPLACE({self.value},X'5C',X'5C5C'),X'27',X'5C27')"
        quoted = f"CONCAT(X'27',{escaped},X'27')"
        return f"IFNULL({quoted},'NULL')" if self.column.nullable else quoted

    def key_literal(self) -> str:
        charset = self.column.introducer
        empty = f"'{charset or '_binary '}'''''"
        # LOWER does not change binary strings, and HEX returns one where literals are binary.
        digits = f"LOWER(CONVERT(HEX({self.name}) USING latin1))"
        return f"IF(LENGTH({self.name})=0,{empty},CONCAT('{charset}0x',{digits}))"

    def hash_expression(self) -> str:
        if self.column.max_bytes > 1024:
            # A digest keeps the row's text short: a CONCAT longer than max_allowed_packet is NULL.
            return f"IFNULL(SHA2({self.value},256),'N')"
        counted = f"CONCAT(LENGTH({self.value}),':',{self.value})"
        return f"IFNULL({counted},'N')" if self.column.nullable else counted


class _Json(_Bytes):
    """MySQL JSON is transferred as text, which loses some types (DECIMAL, dates, opaque values)."""

    def literal(self, *, text_session: bool) -> str:
        return f"IF({self.name} IS NULL,'NULL',CONCAT('{self.introducer}',{self.field(text_session=text_session)}))"

    @property
    def introducer(self) -> str:
        return "_utf8mb4"  # the server makes no JSON from binary text

    @property
    def reparsed(self) -> str:
        return f"CAST(CONVERT({self.value} USING utf8mb4) AS JSON)"

    def assignment(self, variable: str) -> str | None:
        return f"CONVERT({variable} USING utf8mb4)"

    def hash_expression(self) -> str:
        return f"IFNULL(SHA2(CAST({self.reparsed} AS BINARY),256),'N')"

    def changed_expression(self) -> str | None:
        # Equality does not detect DECIMAL against DOUBLE, text does not detect dates, size does not detect numbers of
        # equal length. An UPDATE in place leaves holes, and offsets of the document's earlier size. JSON_INSERT of an
        # existing path changes nothing but rewrites the document, types included.
        size = f"JSON_STORAGE_SIZE(JSON_INSERT({self.name},_utf8mb4'$',1))<>JSON_STORAGE_SIZE({self.reparsed})"
        text = f"CAST({self.reparsed} AS BINARY)<>{self.value}"
        # Older ones do not notice such a DECIMAL, whose text is that of the DOUBLE: ``preflight.samples`` refuses
        # their JSON columns.
        return f"({size} OR {text} OR {self.name}<>{self.reparsed} /*!80033 OR {self._has_decimal} */)"

    @property
    def _has_decimal(self) -> str:
        """All three are equal for a DECIMAL with as many bytes as a DOUBLE, such as 12345.67. Its text has a point.

        ``$**[0]`` matches every value at any depth that is not an array.
        """
        leaf = "COLUMNS(`ferry leaf` JSON PATH _utf8mb4'$')"
        leaves = f"JSON_TABLE({self.name},_utf8mb4'$**[0]' {leaf}) AS `ferry leaves`"
        decimal = f"EXISTS(SELECT 1 FROM {leaves} WHERE JSON_TYPE(`ferry leaf`)=_utf8mb4'DECIMAL')"
        return f"(LOCATE(_binary'.',{self.value})>0 AND {decimal})"


class _MariaDbFixed(_Bytes):
    """MariaDB UUID and INET: raw bytes of fixed length, in the order of the text (UUID is stored in another order)."""

    @property
    def value(self) -> str:
        return f"CAST({self.name} AS BINARY({self.column.max_bytes}))"

    @property
    def unbounded(self) -> bool:
        return False

    def key_literal(self) -> str:
        return f"CONCAT('_utf8mb4''',{self.name},'''')"


class _CrossingDouble(_Double):
    """Both families print the shortest digits that mean the value, but not where they put the point."""

    @property
    def shortest(self) -> str:
        """Such as ``-0.15e1``: a literal, and one text for one value."""
        number = f"SUBSTRING_INDEX({self.digits},'e',1)"
        mantissa = f"REPLACE({number},'-','')"
        power = f"IF(LOCATE('e',{self.digits})>0,SUBSTRING_INDEX({self.digits},'e',-1)+0,0)"
        figures = f"REPLACE({mantissa},'.','')"
        significant = f"TRIM(LEADING '0' FROM {figures})"
        places = f"LENGTH(SUBSTRING_INDEX({mantissa},'.',1))-LENGTH({figures})+LENGTH({significant})+{power}"
        sign = f"IF({self.name}<0,'-0.','0.')"
        text = f"CONCAT({sign},TRIM(TRAILING '0' FROM {significant}),'e',CAST({places} AS SIGNED))"
        return f"IF({self.name}=0,'0e0',{text})"

    def key_literal(self) -> str:
        return self.shortest

    def hash_expression(self) -> str:
        return f"IFNULL({self.shortest},'N')" if self.column.nullable else self.shortest


class _CrossingFloat(_Float, _CrossingDouble):
    pass


class _CrossingText(_Bytes):
    """UUID and INET on their way from MariaDB to a text column of MySQL."""

    @property
    def value(self) -> str:
        # Where literals are binary, a CAST of the column itself would give its bytes.
        return f"CAST(CONCAT({self.name}) AS BINARY)"

    @property
    def unbounded(self) -> bool:
        return False


def _crossing_codec(column: Column, flavor: Flavor) -> Codec | None:
    """Of a column that goes to the other family, where that makes a difference."""
    match column.data_type:
        case "double":
            return _CrossingDouble(column, flavor)
        case "float":
            return _CrossingFloat(column, flavor)
        case "json":
            return _Bytes(column, flavor)  # MariaDB keeps the text
        case "uuid" | "inet6" | "inet4":
            return _CrossingText(column, flavor)
    return None


def codec(column: Column, flavor: Flavor) -> Codec:  # noqa: C901, PLR0911 - one a family of types
    """The codec of a column. ConfigError for a type that this version does not know."""
    if column.crosses and (crossing := _crossing_codec(column, flavor)):
        return crossing
    kind = column.data_type
    if kind in INTEGERS:
        return _Integer(column, flavor)
    if kind == "decimal":
        return _Integer(column, flavor)
    if kind == "year":
        return _Year(column, flavor)
    if kind == "double":
        return _Double(column, flavor)
    if kind == "float":
        return _Float(column, flavor)
    if kind == "bit":
        return _Number(column, flavor)
    if kind in ("enum", "set"):
        return _Choice(column, flavor)
    if kind in TEMPORALS:
        return _Temporal(column, flavor)
    if kind == "json" and flavor is Flavor.MYSQL:
        return _Json(column, flavor)
    if kind in TEXTS | BINARIES | GEOMETRIES | {"vector"}:
        return _Bytes(column, flavor)
    if kind in ("uuid", "inet6", "inet4") and flavor is Flavor.MARIADB:
        return _MariaDbFixed(column, flavor)
    raise ConfigError(
        Reason.UNKNOWN_COLUMN_TYPE,
        f"column {column.name} has type {column.column_type}, which this version cannot copy; exclude its table",
    )
