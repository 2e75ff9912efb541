"""Measure what encryption costs: SQL beside pgcrypto's own, Python beside other libraries, rotation beside readers."""

import hmac
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import psycopg
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from bench import page
from bench.database import migrated
from bench.measure import pgbench, rates_by_turns
from portaldb.cluster import Cluster
from portaldb.encryption import Keyring, config_context, decrypt, encrypt
from portaldb.encryption.key_set import new_key
from portaldb.encryption.keyring import Enc, State
from portaldb.errors import PortalError
from portaldb.queries import split

SIZES = (100, 4096)
SLOW = 100
"""pgp_sym_encrypt is given one value of so many."""
ALGORITHMS = ["dir", *Enc]
DATABASE = "bench_encryption"
READERS, WRITERS = 400, 50
"""Statements a second that four reading and two writing clients send."""

CONTEXT = "public.sensitive_data_context('user_server_configs', 'encrypted_config', {user_id}, {server_id})"


@dataclass(frozen=True)
class Case:
    """A use of the SQL functions, and what pgcrypto's own do in its place."""

    what: str
    ours: str
    raw: str
    pgp: str
    quarter: bool = False
    """Whether the aim is a quarter of raw; twenty times pgp is everyone's."""


ENCRYPT = (
    "public.encrypt(convert_to({text}, 'UTF8'), {raw_key}, 'aes')",
    "public.pgp_sym_encrypt({text}, {key})",
)
DECRYPT = (
    "convert_from(public.decrypt({raw}, {raw_key}, 'aes'), 'UTF8')",
    "public.pgp_sym_decrypt({pgp}, {key})",
)
CASES = (
    Case("encrypt", "public.encrypt_sensitive_data({text}, {key})", *ENCRYPT, quarter=True),
    Case("encrypt, bound", f"public.encrypt_sensitive_data({{text}}, {{key}}, {CONTEXT})", *ENCRYPT),
    Case("decrypt", "public.decrypt_sensitive_data({unbound}, {key})", *DECRYPT),
    Case("decrypt, bound", f"public.decrypt_sensitive_data({{bound}}, {{key}}, {CONTEXT})", *DECRYPT),
)
COLUMNS = ("text", "user_id", "server_id", "raw", "unbound", "bound", "pgp")
TYPES = {"raw": "bytea", "pgp": "bytea", "raw_key": "bytea", "user_id": "uuid", "server_id": "uuid"}

SQL_HEAD = (
    "| SQL | bytes | how | raw | pgp | ours | of raw | of single turns | aim | met | times pgp | aim | met |\n"
    "|---|---:|---|---:|---:|---:|---:|---:|---:|---|---:|---:|---|"
)
PYTHON_HEAD = (
    "| Python | enc | bytes | bare | joserfc | jwcrypto | ours | of bare | of single turns | aim | met | times joserfc | times jwcrypto |\n"  # noqa: E501 - a table's head
    "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---|---:|---:|"
)


@click.command()
@click.option("--values", default=20_000, show_default=True, help="Values of 100 bytes that a SQL statement takes.")
@click.option("--calls", default=2_000, show_default=True, help="Calls of a turn, in Python and one by one.")
@click.option("--rows", default=1_000_000, show_default=True, help="Rows that are counted by their key.")
@click.option("--rotated", default=100_000, show_default=True, help="Rows of 1 kB that are rotated.")
@click.option("--runs", default=5, show_default=True, help="Turns of each side.")
@click.option("--seconds", default=6, show_default=True, help="How long readers and writers work.")
@click.option(
    "--write", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="PAGE", help="Put it there."
)
def main(values: int, calls: int, rows: int, rotated: int, runs: int, seconds: int, write: Path | None) -> None:
    """Measure the SQL functions beside pgcrypto's own, Python beside other libraries, and rotation beside readers.

    All sides of a line take their turns in one run, on one server that this makes. Leave the machine alone meanwhile;
    it takes about fifteen minutes.

    \b
    Example:  python -m bench.encryption --write docs/benchmark-encryption.md
    """
    cluster = Cluster.create_throwaway(durable=True)
    described = page.machine(cluster, ("alembic", "sqitch", "psql"))
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(cluster, Path(folder), calls, runs, seconds)
            lines = [
                *(SQL_HEAD, *_told(bench.sql(values)), ""),
                *(PYTHON_HEAD, *_told(bench.python()), ""),
                *_told(bench.counting(rows)),
                *_told(bench.rotation(rotated)),
            ]
    finally:
        cluster.destroy()
    text = "\n".join([*lines, "", described])
    click.echo(text)
    if write:
        page.write(write, text)


def _told(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        click.echo(line, err=True)
        yield line


def _query(name: str) -> str:
    return split(Path(__file__).with_suffix(".sql").read_text(encoding="utf-8"))[name]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _rate(rates: Sequence[float]) -> str:
    return f"{statistics.median(rates):,.0f}/s"


def _share(ours: Sequence[float], theirs: Sequence[float], digits: int = 2) -> tuple[float, str, str]:
    """Return how many times their median ours is; that as a cell, and the spread of single turns."""
    share = statistics.median(ours) / statistics.median(theirs)
    shares = [mine / other for mine, other in zip(ours, theirs, strict=True)]
    return share, f"**{share:,.{digits}f}**", f"{min(shares):,.{digits}f} to {max(shares):,.{digits}f}"


def _met(share: float, aim: float | None) -> tuple[str, str]:
    return ("", "") if aim is None else (f"{aim:g}", "yes" if share >= aim else "no")


@dataclass(frozen=True)
class Bench:
    """What is measured, on a server and in a folder that are gone afterwards."""

    cluster: Cluster
    folder: Path
    calls: int
    runs: int
    seconds: int

    @contextmanager
    def database(self) -> Iterator[psycopg.Connection]:
        """Make a migrated database for the block."""
        url = self.cluster.url(DATABASE)
        migrated(url)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SET max_parallel_workers_per_gather = 0")
            yield connection
        with psycopg.connect(self.cluster.url("postgres"), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {DATABASE}".encode())

    # SQL ---------------------------------------------------------------------------------------------------

    def sql(self, values: int) -> Iterator[str]:
        """Encrypt and decrypt in the server: many values in one statement, and a statement for each."""
        with self.database() as connection:
            for size in SIZES:
                count = values if size == SIZES[0] else values // 10
                keys = {"key": new_key(Enc.CBC, State.KNOWN)["k"], "raw_key": os.urandom(32)}
                table = f"bench_values_{size}"
                filled = {"size": size, "count": count, "slow": max(count // SLOW, 1), **keys}
                with psycopg.ClientCursor(connection) as cursor:
                    for statement in _query("values").format(table=table).split(";\n"):
                        cursor.execute(statement.encode(), filled)
                for how, side in (("together", self.together), ("one by one", self.one_by_one)):
                    for case in CASES:
                        few = {case.pgp: filled["slow"]}
                        sides = [
                            partial(side, connection, each, table, few.get(each, count), keys)
                            for each in (case.raw, case.pgp, case.ours)
                        ]
                        yield self.sql_line(case, size, how, rates_by_turns(sides, self.runs))

    def sql_line(self, case: Case, size: int, how: str, rates: list[list[float]]) -> str:
        """Return a case's line."""
        raw, pgp, ours = rates
        of_raw, cell, spread = _share(ours, raw)
        times, times_cell, _ = _share(ours, pgp, 0)
        aim = 0.25 if case.quarter and (size, how) == (SIZES[0], "together") else None
        shares = (cell, spread, *_met(of_raw, aim), times_cell, *_met(times, 20 if how == "together" else None))
        return _row(case.what, str(size), how, *map(_rate, (raw, pgp, ours)), *shares)

    def together(
        self, connection: psycopg.Connection, expression: str, table: str, count: int, keys: dict[str, object]
    ) -> float:
        """Return values a second of one statement that takes them all."""
        names = {name: f"v.{name}" for name in COLUMNS} | {"key": "%(key)s", "raw_key": "%(raw_key)s::bytea"}
        query = _query("together").format(expression=expression.format(**names), table=table)
        used = {name: value for name, value in keys.items() if f"%({name})s" in query}
        began = time.perf_counter()
        connection.execute(query.encode(), {**used, "count": count})
        return count / (time.perf_counter() - began)

    def one_by_one(
        self, connection: psycopg.Connection, expression: str, table: str, _count: int, keys: dict[str, object]
    ) -> float:
        """Return values a second of one client that sends a prepared statement for each."""
        columns = ", ".join(f"{name}::text" for name in COLUMNS)
        row = connection.execute(_query("first").format(columns=columns, table=table).encode()).fetchone()
        given = dict(zip(COLUMNS, row or (), strict=True)) | {
            name: f"\\x{value.hex()}" if isinstance(value, bytes) else value for name, value in keys.items()
        }
        used = {name: value for name, value in given.items() if f"{{{name}}}" in expression}
        names = {name: f":{name}::{TYPES.get(name, 'text')}" for name in used}
        script = self.folder / "one.sql"
        script.write_text(f"SELECT {expression.format(**names)};\n", encoding="utf-8")
        variables = [word for name, value in used.items() for word in ("-D", f"{name}={value}")]
        return pgbench(self.cluster, DATABASE, script, "-M", "prepared", "-t", str(self.calls), *variables)

    # Python ------------------------------------------------------------------------------------------------

    def python(self) -> Iterator[str]:
        """Encrypt and decrypt in this process."""
        for enc in Enc:
            for size in SIZES:
                for what in ("encrypt", "decrypt"):
                    works = [getattr(each(enc, size), what) for each in (Bare, Joserfc, Jwcrypto, Ours)]
                    rates = rates_by_turns([partial(_calls, work, self.calls) for work in works], self.runs)
                    bare, joserfc, jwcrypto, ours = rates
                    share, cell, spread = _share(ours, bare)
                    others = (_share(ours, joserfc, 1)[1], _share(ours, jwcrypto, 1)[1])
                    yield _row(what, enc, str(size), *map(_rate, rates), cell, spread, *_met(share, 0.7), *others)

    # Rows --------------------------------------------------------------------------------------------------

    def counting(self, rows: int) -> Iterator[str]:
        """Count rows by the key that made them."""
        with self.database() as connection:
            self.fill(connection, rows, 100)
            for name, what in (("kid", "`sensitive_data_kid`"), ("monitor", "`monitor_encryption_keys`")):
                took = []
                for _ in range(self.runs):
                    began = time.perf_counter()
                    connection.execute(_query(name).encode())
                    took.append(time.perf_counter() - began)
                spread = f"{min(took):.1f} to {max(took):.1f}"
                yield f"- {what} over {rows:,} rows: {statistics.median(took):.1f} s ({spread}), in one process"

    def fill(self, connection: psycopg.Connection, rows: int, size: int) -> list[Path]:
        """Make rows under one key; return two key files that know it and another, each with its own primary."""
        keys = [new_key(Enc.CBC, State.KNOWN) for _ in range(2)]
        files = [self.folder / f"keys{number}.json" for number in range(2)]
        for number, path in enumerate(files):
            states = [str(State.PRIMARY if nth == number else State.KNOWN) for nth in range(2)]
            text = json.dumps({"keys": [key | {"state": state} for key, state in zip(keys, states, strict=True)]})
            path.touch(mode=0o600)
            path.write_text(text, encoding="utf-8")
        given = {"rows": rows, "size": size, "key": keys[0]["k"], "kid": keys[0]["kid"]}
        with psycopg.ClientCursor(connection) as cursor:
            for statement in _query("configs").split(";\n"):
                cursor.execute(statement.encode(), given)
        return files

    def rotation(self, rows: int) -> Iterator[str]:
        """Rotate rows of 1 kB by itself, and beside readers and writers, whose times are taken with and without."""
        with self.database() as connection:
            files = self.fill(connection, rows, 1024)
            turn = 1
            alone, beside = [], []
            quiet: list[dict[str, float]] = []
            busy: list[dict[str, float]] = []
            for run in range(self.runs + 1):
                rates = []
                for people in (False, True):
                    with _rotating(self.cluster, files[turn % 2]) as rotation:
                        times = self.people(rows) if people else {}
                        ended = rotation.poll() is not None
                        rates.append(_rotated(rotation, rows))
                    if people and ended:
                        raise PortalError(
                            "The rotation ended while people were at work: more --rotated rows are needed."
                        )
                    turn += 1
                    connection.execute("VACUUM ANALYZE public.user_server_configs")
                    connection.execute("CHECKPOINT")
                without = self.people(rows)
                if run:  # the first fills the caches
                    alone.append(rates[0])
                    beside.append(rates[1])
                    quiet.append(without)
                    busy.append(times)
        yield (
            f"- rotation of {rows:,} rows of 1 kB: **{statistics.median(alone):,.0f} rows/s** alone "
            f"({min(alone):,.0f} to {max(alone):,.0f}; aim: over 5,000, {'met' if statistics.median(alone) > 5000 else 'not met'}), "  # noqa: E501, PLR2004 - a sentence; the aim
            f"{statistics.median(beside):,.0f} rows/s beside readers and writers"
        )
        for who in ("readers", "writers"):
            for nth in ("p50", "p99"):
                before, during = ([each[f"{who} {nth}"] for each in side] for side in (quiet, busy))
                times_, cell, spread = _share(during, before)
                aim = f"; aim: less than doubled, {'met' if times_ < 2 else 'not met'}" if nth == "p99" else ""  # noqa: PLR2004
                yield (
                    f"- {who}' {nth}: {statistics.median(before):.1f} ms without a rotation, "
                    f"{statistics.median(during):.1f} ms with one, {cell} times ({spread}{aim})"
                )

    def people(self, rows: int, rotation: subprocess.Popen[str] | None = None) -> dict[str, float]:
        """Let readers and writers work for a while; return their times in milliseconds, from when they were due.

        Those after the end of the rotation do not count. Raises PortalError where none is left.
        """
        started = []
        for who, clients, rate in (("readers", 4, READERS), ("writers", 2, WRITERS)):
            script = self.folder / f"{who}.sql"
            script.write_text(_query(who), encoding="utf-8")
            for old in self.folder.glob(f"{who}.log*"):
                old.unlink()
            argv = [str(self.cluster.programs / "pgbench"), "-n", "-M", "prepared", "-c", str(clients), "-R", str(rate)]
            argv += ["-T", str(self.seconds), "-D", f"rows={rows}", "-f", str(script)]
            argv += ["-l", "--log-prefix", str(self.folder / f"{who}.log"), self.cluster.url(DATABASE)]
            started.append((who, subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)))
        end = float("inf")
        while any(process.poll() is None for _, process in started):
            if rotation is not None and rotation.poll() is not None:
                end = min(end, time.time())
            time.sleep(0.01)
        found: dict[str, float] = {}
        for who, process in started:
            _, said = process.communicate()
            if process.returncode:
                raise PortalError(f"pgbench failed: {said.decode(errors='replace').strip()[-600:]}")
            # client, its number, how long it took in microseconds, script, and when it ended: seconds, microseconds
            lines = [line.split() for log in self.folder.glob(f"{who}.log*") for line in log.read_text().splitlines()]
            took = sorted(int(line[2]) / 1000 for line in lines if int(line[4]) + int(line[5]) / 1e6 <= end)
            if not took:
                raise PortalError("The rotation was done before anybody had worked: it needs more --rotated rows.")
            found |= {f"{who} p50": took[len(took) // 2], f"{who} p99": took[len(took) * 99 // 100]}
        return found


@contextmanager
def _rotating(cluster: Cluster, keys: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a rotation, and wait until it has begun to write."""
    argv = [sys.executable, "-m", "portaldb", "keys", "rotate", "--keys", str(keys), "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "PORTALDB_"))}
    with subprocess.Popen(
        argv,
        env=environment | {"DATABASE_URL": cluster.url(DATABASE)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            query = (
                "SELECT FROM pg_stat_activity WHERE application_name = 'portaldb keys rotate' AND query ILIKE 'UPDATE%'"
            )
            while process.poll() is None and not connection.execute(query.encode()).rowcount:
                time.sleep(0.01)
        yield process


def _rotated(process: subprocess.Popen[str], rows: int) -> float:
    """Wait for a rotation and return its rows a second; raise PortalError where it did not rotate them all."""
    said, errors = process.communicate()
    if process.returncode or json.loads(said)["rotated"] != rows:
        raise PortalError(f"portaldb keys rotate failed: {said[-600:]} {errors[-600:]}")
    return float(json.loads(said)["rows_per_second"])


# The sides in Python ----------------------------------------------------------------------------------------


def _calls(work: Callable[[], object], calls: int) -> float:
    began = time.perf_counter()
    for _ in range(calls):
        work()
    return calls / (time.perf_counter() - began)


class Ours:
    """portaldb.encryption; the others have its key, its header and its value."""

    def __init__(self, enc: Enc, size: int) -> None:
        self.jwk = new_key(enc, State.PRIMARY)
        self.keyring = Keyring.from_json(json.dumps({"keys": [self.jwk]}))
        self.key = self.keyring.primary.material
        self.enc = enc
        self.text = "x" * size
        self.where = config_context("0b6a2a3e-8c1d-4f5e-9a7b-1c2d3e4f5a6b", "7c8d9e0f-1a2b-4c3d-8e4f-5a6b7c8d9e0f")
        self.value = encrypt(self.text, self.keyring, context=self.where)
        self.header = self.value.partition(".")[0]

    def encrypt(self) -> str:
        """Encrypt the text."""
        return encrypt(self.text, self.keyring, context=self.where)

    def decrypt(self) -> str:
        """Open the value."""
        return decrypt(self.value, self.keyring, context=self.where)


def _encoded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _decoded(text: str) -> bytes:
    return urlsafe_b64decode(text + "==")


class Bare(Ours):
    """The calls of `cryptography` that the same bytes take, with the header made once and none of the checks."""

    def encrypt(self) -> str:
        """Encrypt the text."""
        plaintext, aad = self.text.encode(), self.header.encode()
        if self.enc is Enc.GCM:
            iv = os.urandom(12)
            sealed = AESGCM(self.key).encrypt(iv, plaintext, aad)
            ciphertext, tag = sealed[:-16], sealed[-16:]
        else:
            iv = os.urandom(16)
            fill = 16 - len(plaintext) % 16
            encryptor = Cipher(AES(self.key[32:]), CBC(iv)).encryptor()
            ciphertext = encryptor.update(plaintext + bytes([fill]) * fill) + encryptor.finalize()
            tag = self.tag(aad, iv, ciphertext)
        return f"{self.header}..{_encoded(iv)}.{_encoded(ciphertext)}.{_encoded(tag)}"

    def decrypt(self) -> str:
        """Open the value."""
        header, _, *rest = self.value.split(".")
        iv, ciphertext, tag = map(_decoded, rest)
        if self.enc is Enc.GCM:
            return AESGCM(self.key).decrypt(iv, ciphertext + tag, header.encode()).decode()
        if not hmac.compare_digest(tag, self.tag(header.encode(), iv, ciphertext)):
            raise PortalError("The tag is wrong.")
        decryptor = Cipher(AES(self.key[32:]), CBC(iv)).decryptor()
        padded = decryptor.update(ciphertext) + decryptor.finalize()
        return padded[: -padded[-1]].decode()

    def tag(self, aad: bytes, iv: bytes, ciphertext: bytes) -> bytes:
        """Return the tag of RFC 7518, section 5.2.2.1."""
        return hmac.digest(self.key[:32], aad + iv + ciphertext + (len(aad) * 8).to_bytes(8, "big"), "sha512")[:32]


class Joserfc(Ours):
    """joserfc by itself."""

    def __init__(self, enc: Enc, size: int) -> None:
        from joserfc.jwk import OctKey

        super().__init__(enc, size)
        self.oct = OctKey.import_key({"kty": "oct", "k": self.jwk["k"]})
        self.said = json.loads(_decoded(self.header))

    def encrypt(self) -> str:
        """Encrypt the text."""
        from joserfc import jwe

        return jwe.encrypt_compact(dict(self.said), self.text.encode(), self.oct, ALGORITHMS)

    def decrypt(self) -> str:
        """Open the value."""
        from joserfc import jwe

        return (jwe.decrypt_compact(self.value, self.oct, ALGORITHMS).plaintext or b"").decode()


class Jwcrypto(Ours):
    """jwcrypto by itself."""

    def __init__(self, enc: Enc, size: int) -> None:
        from jwcrypto.jwk import JWK

        super().__init__(enc, size)
        self.oct = JWK(kty="oct", k=self.jwk["k"])
        self.said = _decoded(self.header).decode()

    def encrypt(self) -> str:
        """Encrypt the text."""
        from jwcrypto import jwe

        made = jwe.JWE(self.text.encode(), self.said)
        made.add_recipient(self.oct)
        return str(made.serialize(compact=True))

    def decrypt(self) -> str:
        """Open the value."""
        from jwcrypto import jwe

        found = jwe.JWE()
        found.deserialize(self.value, key=self.oct)
        return str(found.payload.decode())


if __name__ == "__main__":
    main()
