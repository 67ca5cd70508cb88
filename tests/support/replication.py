"""A server that replicates from another one for a moment."""

from hack.servers import Family
from tests.support.servers import Server
from tests.support.waits import wait_until

APPLIED = "mysql_ferry_applied"


def set_replicated(server: Server, position: str) -> None:
    """MariaDB's gtid_slave_pos. In strict mode the server refuses a position before that of its own binlog."""
    server.execute(
        *("SET GLOBAL gtid_strict_mode = OFF", f"SET GLOBAL gtid_slave_pos = '{position}'"),
        "SET GLOBAL gtid_strict_mode = ON",
    )


def replicate(primary: Server, replica: Server, *statements: str) -> None:
    """Set up replication by file and offset, apply the statements of the primary, remove replication again."""
    mysql = replica.family is Family.MYSQL
    file, offset = primary.query("SHOW BINARY LOG STATUS" if mysql else "SHOW MASTER STATUS")[0][:2]
    which = "SOURCE" if mysql else "MASTER"
    options = {"HOST": f"'{primary.host}'", "PORT": primary.port, "USER": f"'{primary.user}'"}
    options |= {"PASSWORD": f"'{primary.password}'", "LOG_FILE": f"'{file}'", "LOG_POS": offset}
    options |= {} if mysql else {"USE_GTID": "no"}
    said = ", ".join(f"{which}_{name} = {value}" for name, value in options.items())
    if mysql:
        change, start = f"CHANGE REPLICATION SOURCE TO {said}, GET_SOURCE_PUBLIC_KEY = 1", "START REPLICA"
        stop, forget = "STOP REPLICA", "RESET REPLICA ALL"
    else:
        change, start, stop, forget = f"CHANGE MASTER TO {said}", "START SLAVE", "STOP SLAVE", "RESET SLAVE ALL"
    replica.execute(change, start)
    try:
        primary.execute(*statements, f"CREATE DATABASE {APPLIED}")
        wait_until(lambda: replica.query(f"SHOW DATABASES LIKE '{APPLIED}'"), "the replica has applied it")
        primary.execute(f"DROP DATABASE {APPLIED}")
        wait_until(lambda: not replica.query(f"SHOW DATABASES LIKE '{APPLIED}'"), "the replica has applied it")
    finally:
        replica.execute(stop, forget)
