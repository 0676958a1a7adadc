"""Serves the ClickHouse engine of the wheel chdb-core over HTTP, on loopback.

usage: serve.py CONFIG   the settings, XML; data go beside them

Importing chdb makes an embedded session, which sets up the threads that BACKUP needs. The query
after it is what `clickhouse local` would run: it opens the listener and then never ends. There
are several of it, because a KILL QUERY of a test can hit one.
"""
import os
import sys

config = os.path.abspath(sys.argv[1])
os.chdir(os.path.dirname(config))
# The engine looks for this name in the current folder.
if not os.path.lexists("config.xml"):
    os.symlink("config", "config.xml")

from chdb import _chdb  # noqa: E402  (the settings are read while it is imported)

SLEEP = ("SELECT sleepEachRow(1) FROM system.numbers FORMAT Null SETTINGS max_block_size = 1,"
         " function_sleep_max_microseconds_per_block = 0, max_execution_time = 0;")
_chdb.query("SYSTEM START LISTEN HTTP;" + SLEEP * 50, "TabSeparated", path=os.path.abspath("data"))
