"""The ledger in a real PostgreSQL: one intact chain with several or killed writers; changes refused or reported."""

import errno
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from lib.__main__ import cli
from lib.records.database import LedgerUnavailable
from lib.records.ledger import LAST_ROW_FILE, URL_VARIABLE, Ledger

PROGRAMS = max((path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")), default=None)
pytestmark = pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed: apt-get install postgresql")
OWNER = "postgres"
"""User of the server if root runs the tests: PostgreSQL refuses to run as root."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Path]:
    """A new PostgreSQL server that listens on a socket in a temporary folder."""
    assert PROGRAMS is not None
    # Not pytest's folder: other users have no access to it.
    folder = Path(tempfile.mkdtemp(prefix="topolabel-"))
    runs_as = pwd.getpwnam(OWNER).pw_uid if os.geteuid() == 0 else os.geteuid()
    os.chown(folder, runs_as, -1)

    def program(name: str, *arguments: str) -> list[str]:
        return [str(PROGRAMS / name), "-D", str(folder / "data"), *arguments]

    initdb = program("initdb", "--auth=trust", "--no-sync", f"--username={OWNER}", "--encoding=UTF8")
    subprocess.run(initdb, user=runs_as, cwd=folder, check=True, capture_output=True)
    with (folder / "log").open("wb") as log:
        command = program("postgres", "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off")
        server = subprocess.Popen(command, user=runs_as, cwd=folder, stdout=log, stderr=log)
    try:
        end = time.monotonic() + 30
        while subprocess.run([PROGRAMS / "pg_isready", "-q", "-h", folder], check=False).returncode:
            assert server.poll() is None and time.monotonic() < end, (folder / "log").read_text()
            time.sleep(0.1)
        yield folder
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(folder)


@pytest.fixture
def url(cluster: Path) -> str:
    """URL of an empty database."""
    name = f"ledger_{uuid.uuid4().hex}"
    engine = sa.create_engine(address(cluster, "postgres"), isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    return address(cluster, name)


@pytest.fixture
def ledger(tmp_path: Path, url: str) -> Ledger:
    return Ledger(tmp_path, url)


def address(folder: Path, database: str) -> str:
    return f"postgresql+psycopg://{OWNER}@/{database}?host={folder}"


def execute(url: str, *statements: str) -> None:
    with sa.create_engine(url, poolclass=sa.NullPool).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def filled(ledger: Ledger) -> Ledger:
    for number in range(5):
        ledger.append("label", f"ct_{number}", {"number": number, "who": "Ärztin"})
    return ledger


def test_rows_are_chained_and_read_back(ledger: Ledger, url: str) -> None:
    assert ledger.rows() == [] and ledger.last() == 0 and ledger.verify() == []
    rows = filled(ledger).rows()
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5] and rows[2].body == {"number": 2, "who": "Ärztin"}
    assert [row.previous for row in rows[1:]] == [row.hash for row in rows[:-1]]
    assert Ledger(ledger.folder, url).rows(after=2) == rows[2:] and ledger.last() == 5 and ledger.verify() == []
    assert [path.name for path in ledger.folder.iterdir()] == [LAST_ROW_FILE], "there is no SQLite file"


def test_a_failed_block_adds_no_row(ledger: Ledger) -> None:
    with pytest.raises(RuntimeError), ledger.writing() as writer:
        writer.append("job", "x", {})
        raise RuntimeError
    assert ledger.rows() == []


@pytest.mark.parametrize(
    "statement", ["UPDATE ledger SET subject = 'x'", "DELETE FROM ledger WHERE seq = 5", "TRUNCATE ledger"]
)
def test_changes_of_rows_are_refused(ledger: Ledger, url: str, statement: str) -> None:
    before = filled(ledger).rows()
    with pytest.raises(sa.exc.DBAPIError, match="append-only"):
        execute(url, statement)
    assert ledger.rows() == before


def test_changes_with_disabled_triggers_are_reported(ledger: Ledger, url: str, tmp_path: Path) -> None:
    filled(ledger)
    (tmp_path / "app.toml").write_text("")
    off = "ALTER TABLE ledger DISABLE TRIGGER ALL"
    execute(url, off, "UPDATE ledger SET body = replace(body, '2', '7') WHERE seq = 3")
    assert ledger.verify() == ["row 3 (label ct_2) does not match its hash"]
    shutil.copytree(tmp_path, tmp_path / "records", dirs_exist_ok=True)
    result = CliRunner(env={URL_VARIABLE: url}).invoke(cli, ["ledger", "verify", str(tmp_path)])
    assert result.exit_code == 1 and "row 3 (label ct_2) does not match its hash" in result.stdout
    execute(url, off, "DELETE FROM ledger WHERE seq > 2")
    assert ledger.verify() == [
        f"row 5 is not the row that {LAST_ROW_FILE} names: it was changed, or the end of the ledger is cut off"
    ]


def test_processes_that_write_at_once_write_one_chain(
    ledger: Ledger, url: str, run_writers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, url)
    run_writers("race", ledger.folder, 3, 20)
    assert len(ledger.rows()) == 60 and ledger.verify() == []
    assert len({row.subject for row in ledger.rows()[:40]}) > 1, "the writers wrote at the same time"


def test_killed_writers_leave_an_intact_chain_with_all_reported_rows(
    ledger: Ledger, url: str, run_writers: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(URL_VARIABLE, url)
    run_writers("kill", ledger.folder, 12, 5)
    reported = dict(line.split() for line in (ledger.folder / "reports").read_text().splitlines())
    found = {str(row.seq): row.hash for row in ledger.rows()}
    assert len(reported) >= 12 and reported.items() <= found.items() and ledger.verify() == []


def test_an_unreachable_server_is_reported(tmp_path: Path) -> None:
    unreachable = Ledger(tmp_path, address(tmp_path, "nowhere"))
    with pytest.raises(LedgerUnavailable, match="cannot be written") as caught:
        unreachable.append("job", "x", {})
    assert caught.value.errno == errno.EIO
    (tmp_path / LAST_ROW_FILE).write_text('{"seq": 5, "hash": "x"}')
    (fault,) = unreachable.verify()
    assert fault.startswith("the ledger cannot be read beyond row 0: connection ")
