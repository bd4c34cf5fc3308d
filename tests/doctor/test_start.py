"""What every start checks: secrets, files, tables and the demo log-in. Each error is one sentence with what to do."""

from __future__ import annotations

import os
import shutil
import stat
from dataclasses import replace

import pytest

from portal import bootstrap, create_app, demo
from portal.config import ConfigError
from portal.db import close_connections, db
from portal.doctor import files, local
from portal.doctor.findings import Grade
from portal.state import current_config, get_state
from tests.conftest import KEYRING, make_config

SQLITE = {"DATABASE_URL": ""}
PUBLIC = {"SIGNET_BASE_URL": "https://signet.example.com", "SIGNET_REHEARSAL": "0"}


def start(tmp_path, **env):
    """Start a portal as wsgi.py does; return it, or raise ConfigError."""
    app = create_app(make_config(tmp_path / "instance", env=SQLITE | env))
    try:
        bootstrap.require_ready(app)
    finally:
        close(app)
    return app


def set_up(tmp_path, **env):
    app = create_app(make_config(tmp_path / "instance", env=SQLITE | env))
    bootstrap.migrate(app)
    return app


def close(app):
    with app.app_context():
        db.session.remove()
        close_connections()


@pytest.fixture(scope="module")
def migrated(tmp_path_factory):
    """The folder of an instance that is set up, to be copied."""
    folder = tmp_path_factory.mktemp("migrated")
    close(set_up(folder))
    return folder / "instance"


@pytest.fixture
def ready(migrated, tmp_path):
    """The parent of an instance folder that is set up."""
    shutil.copytree(migrated, tmp_path / "instance")
    return tmp_path


def test_a_portal_that_is_set_up_starts(ready):
    start(ready)


@pytest.mark.parametrize("mode", [0o755, 0o711, 0o707])
def test_a_folder_that_others_may_open_stops_the_start(ready, mode):
    folder = ready / "instance"
    folder.chmod(mode)
    with pytest.raises(ConfigError, match=f"can access {folder}. Run: chmod 700 {folder}"):
        start(ready, **PUBLIC)
    start(ready)  # a rehearsal, which doctor warns of
    folder.chmod(0o700)
    start(ready, **PUBLIC)


def test_a_group_of_this_process_may_open_the_folder_as_in_a_volume_of_kubernetes(ready, monkeypatch):
    folder, database = ready / "instance", ready / "instance" / "portal.sqlite"
    folder.chmod(0o2770)
    database.chmod(0o660)
    start(ready, **PUBLIC)
    with create_app(make_config(folder, env=SQLITE | PUBLIC)).app_context():
        found = local.check_files(current_config())
        db.session.remove()
        close_connections()
    assert found.grade is Grade.WARNING
    assert f"The other members of its group can access {folder}." in found.text
    monkeypatch.setattr(os, "getegid", lambda: folder.stat().st_gid + 1)
    monkeypatch.setattr(os, "getgroups", list)
    with pytest.raises(ConfigError, match=f"Other users of this machine can access {folder}."):
        start(ready, **PUBLIC)


@pytest.mark.parametrize("name", ["portal.sqlite", "jobs.sqlite", "keys", "accepted"])
def test_a_file_that_others_may_read_stops_the_start_until_bootstrap_has_run(ready, name):
    path = ready / "instance" / name
    path.mkdir() if name == "accepted" else path.touch()
    path.chmod(0o755 if name == "accepted" else 0o644)
    with pytest.raises(ConfigError, match=f"can access {path}. Run `python -m portal.bootstrap`"):
        start(ready, **PUBLIC)
    close(set_up(ready))
    assert not stat.S_IMODE(path.stat().st_mode) & 0o077
    start(ready, **PUBLIC)


def test_bootstrap_changes_no_file_that_is_not_its_own(ready):
    folder = ready / "instance"
    folder.chmod(0o755)
    target = ready / "elsewhere"
    target.write_text("shared")
    target.chmod(0o644)
    (folder / "keys").symlink_to(target)
    (folder / "notes.txt").touch(mode=0o644)
    close(set_up(ready))
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert stat.S_IMODE((folder / "notes.txt").stat().st_mode) == 0o644
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755, "the folder may hold more than Signet"


def test_new_files_are_private(tmp_path):
    before = os.umask(0o022)
    try:
        files.use_private_umask()
        path = tmp_path / "file"
        path.touch()
        assert os.umask(before) == 0o077
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("key", ["k" * 40, "changeme" * 6, "Change-Me-0123456789-abcdefghijklmnop"])
def test_a_secret_key_that_can_be_guessed_stops_the_start(ready, key):
    with pytest.raises(ConfigError, match="SECRET_KEY can be guessed") as refusal:
        start(ready, SECRET_KEY=key)
    assert key not in str(refusal.value)


def test_a_key_that_can_be_guessed_stops_the_start_until_another_one_is_first(ready):
    zeros = f"zeros:{'A' * 43}="
    with pytest.raises(ConfigError, match=r"The first key of SIGNET_KEYS can be guessed.*flask keys rotate"):
        start(ready, SIGNET_KEYS=zeros)
    start(ready, SIGNET_KEYS=f"{bootstrap.new_key()};{zeros};{KEYRING}")


def test_missing_tables_stop_the_start(tmp_path):
    with pytest.raises(ConfigError, match=r"python -m portal\.bootstrap"):
        start(tmp_path)


def test_the_demo_log_in_stops_the_start_until_bootstrap_has_closed_it(ready, capsys):
    app = set_up(ready)
    with app.app_context():
        demo.seed()
    close(app)
    start(ready)  # a rehearsal
    with pytest.raises(ConfigError, match=r"owner@brightleaf.example, the demo owner.*portal\.bootstrap"):
        start(ready, **PUBLIC)

    app = set_up(ready, **PUBLIC)
    bootstrap.close_demo(app)
    close(app)
    assert "flask reset-link owner@brightleaf.example" in capsys.readouterr().out
    start(ready, **PUBLIC)
    bootstrap.close_demo(app)
    close(app)
    assert not capsys.readouterr().out, "once is enough"


def test_bootstrap_leaves_the_demo_log_in_of_a_rehearsal(ready):
    app = set_up(ready)
    with app.app_context():
        demo.seed()
        bootstrap.close_demo(app)
        assert demo.has_published_password()
        state = get_state(app)
        state.config = replace(state.config, rehearsal=False)
    bootstrap.close_demo(app)
    with app.app_context():
        assert not demo.has_published_password()
    close(app)
