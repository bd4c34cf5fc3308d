"""DATABASE_URL and REDIS_URL choose database and job queues. Their passwords appear in no message."""

from __future__ import annotations

import sys

import pytest
from huey.storage import PostgresStorage, RedisStorage, SqliteStorage
from sqlalchemy import create_engine, make_url

from portal import create_app
from portal.config import ConfigError
from portal.db import urls
from portal.jobs.registry import job_registry
from tests.conftest import make_config

pytestmark = pytest.mark.both_databases

SECRET = "canary-9x"


def configured(tmp_path, **env):
    return make_config(tmp_path / "instance", env={"DATABASE_URL": "", **env})


def test_without_a_url_the_database_is_sqlite_in_the_instance_folder(tmp_path):
    config = configured(tmp_path)
    assert config.database_url == f"sqlite:///{tmp_path}/instance/portal.sqlite"
    assert isinstance(job_registry(create_app(config)).queues["mail"].storage, SqliteStorage)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_spelling_of_the_postgresql_scheme_uses_psycopg(tmp_path, scheme):
    config = configured(tmp_path, DATABASE_URL=f"{scheme}://ada:{SECRET}@db.example/signet")
    assert config.database_url == f"postgresql+psycopg://ada:{SECRET}@db.example/signet"
    assert SECRET not in repr(config)


def test_the_portal_starts_while_postgresql_is_down(tmp_path):
    config = configured(tmp_path, DATABASE_URL=f"postgresql://ada:{SECRET}@127.0.0.1:1/signet")
    app = create_app(config)
    assert isinstance(job_registry(app).queues["mail"].storage, PostgresStorage)
    assert app.test_client().get("/healthz").status_code == 200
    answer = app.test_client().get("/readyz")
    assert answer.status_code == 503
    assert SECRET not in answer.get_data(as_text=True)


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (f"mysql://ada:{SECRET}@db.example/signet", "mysql://"),
        (f"postgresql+psycopg2://ada:{SECRET}@db.example/signet", r"postgresql\+psycopg2://"),
        (f"{SECRET}", "is no URL"),
        (f"postgresql://ada:{SECRET}@db.example:port/signet", "cannot be read"),
        (f"postgresql://ada:{SECRET}@db1.example:port,db2.example/signet", "cannot be read"),
        (f"postgresql://ada:{SECRET}@db.example", "names no database"),
        ("sqlite://", "names no database"),
    ],
)
def test_another_database_is_refused_without_disclosing_the_password(tmp_path, value, named):
    with pytest.raises(ConfigError, match=named) as refused:
        configured(tmp_path, DATABASE_URL=value)
    assert "DATABASE_URL" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_password_with_special_characters_reaches_psycopg_unchanged(monkeypatch):
    from psycopg.conninfo import conninfo_to_dict

    parameters = []
    monkeypatch.setattr("psycopg.connect", lambda dsn, **more: parameters.append(conninfo_to_dict(dsn)))
    url = urls.database_url("postgres://ada:p%40ss%2F%3A%25@db.example:6432/signet", None)
    urls.connect(url)
    assert parameters[0]["password"] == "p@ss/:%"
    assert (parameters[0]["host"], parameters[0]["port"], parameters[0]["dbname"]) == (
        "db.example",
        "6432",
        "signet",
    )


def test_redis_holds_the_job_queues_when_its_url_is_set(tmp_path):
    pytest.importorskip("redis", reason="requirements-redis.txt is not installed")
    config = configured(tmp_path, REDIS_URL=f"redis://:{SECRET}@127.0.0.1:6379/0")
    assert isinstance(job_registry(create_app(config)).queues["mail"].storage, RedisStorage)
    assert SECRET not in repr(config)


def test_redis_without_its_package_is_refused_with_a_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)  # makes an import of it raise ImportError
    with pytest.raises(ConfigError, match=r"requirements-redis\.txt"):
        create_app(configured(tmp_path, REDIS_URL="redis://127.0.0.1:6379/0"))


def test_another_message_queue_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="REDIS_URL") as refused:
        configured(tmp_path, REDIS_URL=f"amqp://ada:{SECRET}@queue.example")
    assert SECRET not in str(refused.value)


def test_sqlite_needs_no_postgresql_driver(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg.types.string", None)
    create_app(configured(tmp_path))


@pytest.mark.parametrize(
    ("given", "host", "port", "attributes"),
    [
        ("db1.example,db2.example/signet", "db1.example,db2.example", None, "read-write"),
        ("db1.example:5432,db2.example:6432/signet", "db1.example,db2.example", "5432,6432", "read-write"),
        ("[fd00::1]:5432,db2.example/signet?target_session_attrs=primary", "fd00::1,db2.example", "5432,", "primary"),
        ("/signet?host=/run/one,/run/two", "/run/one,/run/two", None, "read-write"),
        ("db.example/signet", "db.example", None, None),
    ],
)  # fmt: skip
def test_a_second_host_takes_over_and_only_one_that_accepts_writes_is_used(given, host, port, attributes):
    from psycopg.conninfo import conninfo_to_dict

    expected = {"host": host, "port": port, "target_session_attrs": attributes, "dbname": "signet"}
    url = urls.database_url(f"postgresql://ada:{SECRET}@{given}", None)
    by_libpq = conninfo_to_dict(url.replace("+psycopg", "", 1))  # the job queues, and pg_dump
    by_sqlalchemy = create_engine(url).dialect.create_connect_args(make_url(url))[1]
    for found in (by_libpq, by_sqlalchemy):
        found = found | {
            "port": found.get("port") if found.get("port") != "," else None
        }  # all of them the default
        assert {name: found.get(name) for name in expected} == expected
        assert (found["user"], found["password"]) == ("ada", SECRET)


@pytest.mark.only_postgresql
def test_a_database_machine_that_disappeared_is_noticed_within_a_minute(config):
    """Keepalives are not sent while something is unacknowledged; without a limit the system waits a quarter of an hour."""
    with urls.connect(config.database_url) as connection:
        found = connection.info.get_parameters()
    idle, interval, count = (int(found[f"keepalives_{name}"]) for name in ("idle", "interval", "count"))
    assert idle + interval * count <= 60
    assert int(found["tcp_user_timeout"]) <= 60_000
