"""An invalid configuration is rejected at the start with the name of its variable."""

import os

import pytest

from portal.config import Config, ConfigError
from portal.settings.domain_proof import every_domain_needs_proof
from tests.conftest import KEYRING

GOOD = {
    "SECRET_KEY": "a secret key for the tests, long enough",
    "SIGNET_KEYS": KEYRING,
    "SIGNET_BASE_URL": "https://signet.example.com",
    "MAIL_SERVER": "smtp.example.com",
    "MAIL_DEFAULT_SENDER": "affiliates@signet.example",
}


def read(tmp_path, **changes):
    env = {name: value for name, value in (GOOD | changes).items() if value is not None}
    return Config.from_env(env, tmp_path)


WRONG = [
    ("SECRET_KEY", None),
    ("SECRET_KEY", "short"),
    ("SIGNET_KEYS", None),
    ("SIGNET_KEYS", "a:b"),
    ("SIGNET_BASE_URL", "signet.example.com"),
    ("SIGNET_BASE_URL", "ftp://signet.example.com"),
    ("SIGNET_BASE_URL", "https://"),
    ("SIGNET_BASE_URL", "https://[::1"),
    ("SIGNET_BASE_URL", "https://signet.example.com:port"),
    ("SIGNET_BASE_URL", "https://signet.example.com/portal"),
    ("SIGNET_BASE_URL", "https://me:secret@signet.example.com"),
    ("SIGNET_BASE_URL", "https://signet.example.com?x=1"),
    ("SIGNET_BASE_URL", "http://signet.example.com"),
    ("SIGNET_BASE_URL", "http://10.0.0.5"),
    ("SIGNET_REHEARSAL", "1"),
    ("SIGNET_REHEARSAL", "perhaps"),
    ("SIGNET_DOMAIN_PROOF", "never"),
    ("SIGNET_LEASE_SECONDS", "1"),
    ("SIGNET_RETRY_PACE", "0"),
    ("SIGNET_LEASE_SECONDS", "soon"),
    ("SIGNET_LEASE_SECONDS", "nan"),
    ("SIGNET_LEASE_SECONDS", "inf"),
    ("SIGNET_SMTP_DEADLINE", "0"),
    ("SIGNET_SWEEP_SECONDS", "-1"),
    ("SIGNET_WORKER_THREADS", "0"),
    ("SIGNET_WORKER_THREADS", "1.9"),
    ("SIGNET_CPU", "9999"),
    ("SIGNET_CPU", "first"),
    ("SIGNET_TESTS_PER_HOUR", "none"),
    ("SIGNET_SESSION_IDLE_HOURS", "0"),
    ("SIGNET_AUDIT_DAYS", "3651"),
    ("SIGNET_SESSION_IDLE_HOURS", "never"),
    ("SIGNET_SESSION_HOURS", "100"),  # less than the idle time of 336
    ("SIGNET_TRUSTED_PROXIES", "-1"),
    ("SIGNET_TRUSTED_PROXIES", "0.9"),
    ("SIGNET_SMTP_PORTS", "587, smtp"),
    ("SIGNET_SMTP_PORTS", "99999"),
    ("SIGNET_SMTP_PORTS", "²"),
    ("SIGNET_SMTP_PORTS", "5" * 5000),
    ("SIGNET_SMTP_PRIVATE", "10.0.0.5"),
    ("SIGNET_SMTP_PRIVATE", "10.0.0.5:x"),
    ("SIGNET_SMTP_PRIVATE", "10.0.0.5/32:99999"),
    ("SIGNET_SMTP_PRIVATE", "mail.internal:587"),
    ("SIGNET_SMTP_CA_FILE", "/no/such/file.pem"),
    ("SIGNET_REHEARSAL_TLS_PORT", "70000"),
    ("SIGNET_REHEARSAL_PLAYS", "smtp.mailgun.org"),  # while SIGNET_REHEARSAL is off
    ("MAIL_PORT", "0"),
    ("MAIL_PORT", "5.5"),
    ("MAIL_USE_TLS", "maybe"),
    ("MAIL_SERVER", None),
    ("MAIL_SERVER", "https://smtp.example.com"),
    ("MAIL_DEFAULT_SENDER", None),
    ("MAIL_DEFAULT_SENDER", "nobody"),
    ("MAIL_DEFAULT_SENDER", "Signet <a@b.example>"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_an_invalid_value_is_rejected_with_the_name_of_its_variable(tmp_path, name, value):
    with pytest.raises(ConfigError, match=name):
        read(tmp_path, **{name: value})


URLS = ("SIGNET_MICROSOFT_LOGIN_URL", "SIGNET_GOOGLE_TOKEN_URL", "SIGNET_GOOGLE_AUTHORIZE_URL")


def test_an_empty_variable_has_its_default(tmp_path):
    names = {name for name, _ in WRONG if name not in GOOD} | {*URLS}
    assert read(tmp_path, **dict.fromkeys(names, "")) == read(tmp_path)


def test_ssl_and_starttls_together_are_rejected(tmp_path):
    with pytest.raises(ConfigError, match=r"MAIL_USE_SSL and MAIL_USE_TLS"):
        read(tmp_path, MAIL_USE_SSL="1", MAIL_USE_TLS="1")


@pytest.mark.parametrize(
    ("port", "tls", "ssl"), [(None, True, False), ("587", True, False), ("465", False, True)]
)
def test_the_port_alone_implies_the_encryption(tmp_path, port, tls, ssl):
    platform = read(tmp_path, MAIL_PORT=port, MAIL_USERNAME="u", MAIL_PASSWORD="p").platform
    assert (platform.use_tls, platform.use_ssl) == (tls, ssl)


CLEAR_TEXT = [{"MAIL_PORT": "25"}, {"MAIL_PORT": "587", "MAIL_USE_TLS": "0"}, {"MAIL_USE_SSL": "0"}]


@pytest.mark.parametrize("variables", CLEAR_TEXT)
def test_clear_text_needs_a_variable_of_its_own(tmp_path, variables):
    variables |= {"MAIL_USERNAME": "u", "MAIL_PASSWORD": "canary"}
    with pytest.raises(ConfigError, match="MAIL_PLAINTEXT=1") as refusal:
        read(tmp_path, **variables)
    assert "MAIL_PASSWORD" in str(refusal.value)
    assert "canary" not in str(refusal.value)
    assert read(tmp_path, **variables, MAIL_PLAINTEXT="1").platform.is_plaintext
    for server in ("localhost", "127.0.0.1", "[::1]"):
        assert read(tmp_path, **variables, MAIL_SERVER=server).platform.is_plaintext


def test_clear_text_and_encryption_together_are_rejected(tmp_path):
    with pytest.raises(ConfigError, match="Unset MAIL_PLAINTEXT"):
        read(tmp_path, MAIL_PLAINTEXT="1", MAIL_USE_TLS="1")


def test_a_username_without_a_password_is_rejected(tmp_path):
    with pytest.raises(ConfigError, match="MAIL_PASSWORD"):
        read(tmp_path, MAIL_USERNAME="platform")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://localhost", "http://[::1]:8000", "https://a.example/"]
)
def test_valid_base_urls(tmp_path, url):
    assert read(tmp_path, SIGNET_BASE_URL=url).base_url == url.rstrip("/")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("http://localhost:8000", "[127.0.0.1]"),
        ("http://127.0.0.1:8000", "[127.0.0.1]"),
        ("http://[::1]:8000", "[IPv6:::1]"),
        ("https://signet.example.com", "signet.example.com"),
    ],
)
def test_the_ehlo_name_is_a_full_name_or_an_address(tmp_path, url, name):
    assert read(tmp_path, SIGNET_BASE_URL=url).ehlo_name == name


def test_rehearsal_needs_a_loopback_base_url(tmp_path):
    assert read(tmp_path, SIGNET_REHEARSAL="1", SIGNET_BASE_URL="http://127.0.0.1:8000").rehearsal
    for url in (
        "https://signet.example.com",
        "https://localhost.example.com",
        "https://127.0.0.1.example.com",
    ):
        with pytest.raises(ConfigError, match="SIGNET_REHEARSAL"):
            read(tmp_path, SIGNET_REHEARSAL="1", SIGNET_BASE_URL=url)


REHEARSAL = {"SIGNET_REHEARSAL": "1", "SIGNET_BASE_URL": "http://127.0.0.1:8000"}


def test_rehearsal_imitates_only_the_configured_providers(tmp_path):
    assert read(tmp_path, **REHEARSAL).rehearsed_hosts == ()
    config = read(tmp_path, **REHEARSAL, SIGNET_REHEARSAL_PLAYS="smtp.mailgun.org, smtp.gmail.com")
    assert config.rehearsed_hosts == ("smtp.mailgun.org", "smtp.gmail.com")
    assert {one.target_port for one in config.policy.host_overrides} == {2587, 2465}
    assert config.platform_policy.host_overrides == config.policy.host_overrides


@pytest.mark.parametrize("name", ["smtp.example.com", "https://smtp.mailgun.org", "mailgun"])
def test_rehearsal_imitates_only_known_servers(tmp_path, name):
    with pytest.raises(ConfigError, match=f"SIGNET_REHEARSAL_PLAYS holds '{name}'"):
        read(tmp_path, **REHEARSAL, SIGNET_REHEARSAL_PLAYS=name)


def test_without_rehearsal_loopback_is_not_an_allowed_target(tmp_path):
    assert read(tmp_path).policy.private_targets == ()
    assert 2587 in read(tmp_path).policy.ports


def test_a_process_may_be_pinned_to_a_cpu_that_it_may_use(tmp_path):
    cpu = min(os.sched_getaffinity(0))
    assert read(tmp_path).cpu is None
    assert read(tmp_path, SIGNET_CPU=str(cpu)).cpu == cpu


def test_the_old_name_of_the_cpu_variable_is_answered_by_a_sentence(tmp_path, caplog):
    assert read(tmp_path, SIGNET_ONE_PROCESSOR="0").cpu is None
    assert "set SIGNET_CPU" in caplog.text


def test_the_smtp_deadline_is_shorter_than_the_lease(tmp_path):
    config = read(tmp_path, SIGNET_LEASE_SECONDS="10", SIGNET_SMTP_DEADLINE="600")
    assert config.limits.deadline < config.lease


def test_secrets_are_read_from_files(tmp_path):
    (tmp_path / "secret_key").write_text("from a file, and long enough to be one\n")
    assert read(tmp_path, SECRET_KEY=None).secret_key == "from a file, and long enough to be one"


FROM_FILES = {
    "SECRET_KEY": "another secret key, long enough for one",
    "SIGNET_KEYS": KEYRING,
    "MAIL_PASSWORD": " with spaces ",
    "DATABASE_URL": "postgresql://u:p@db.internal/signet",
    "REDIS_URL": "redis://:p@redis.internal/0",
    "SIGNET_METRICS_TOKEN": "sixteen characters",
}


def test_secrets_may_be_in_files_that_variables_name(tmp_path):
    files = {}
    for name, value in FROM_FILES.items():
        path = tmp_path / f"{name}.secret"
        path.write_text(value + "\n")
        files |= {name: None, f"{name}_FILE": str(path)}
    by_file, by_variable = read(tmp_path, **files), read(tmp_path, **FROM_FILES)
    assert by_file == by_variable
    assert by_file.platform.password == " with spaces "


@pytest.mark.parametrize("name", FROM_FILES)
def test_a_secret_in_a_variable_and_in_a_file_is_rejected(tmp_path, name):
    path = tmp_path / "secret"
    path.write_text(FROM_FILES[name])
    with pytest.raises(ConfigError, match=f"{name} and {name}_FILE are both set"):
        read(tmp_path, **{name: FROM_FILES[name], f"{name}_FILE": str(path)})


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff canary", b"canary" * 20_000, "folder"])
@pytest.mark.parametrize("name", ["SECRET_KEY", "MAIL_PASSWORD"])
def test_a_file_without_a_secret_is_rejected_and_never_quoted(tmp_path, name, content):
    path = tmp_path / "secret"
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=f"{name}_FILE names {path}") as refusal:
        read(tmp_path, **{name: None, f"{name}_FILE": str(path)})
    assert "canary" not in str(refusal.value)


def test_a_secret_in_the_instance_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "keys").mkdir()
    with pytest.raises(ConfigError, match=f"{tmp_path / 'keys'} cannot be read by this user"):
        read(tmp_path, SIGNET_KEYS=None)


def test_a_missing_secret_names_its_file(tmp_path):
    with pytest.raises(ConfigError, match=str(tmp_path / "keys")):
        read(tmp_path, SIGNET_KEYS=None)


def test_ports_and_private_targets_are_read(tmp_path):
    config = read(
        tmp_path, SIGNET_SMTP_PORTS="26", SIGNET_SMTP_PRIVATE="10.0.0.5/32:25:plaintext [fd00::1]:26"
    )
    assert 26 in config.policy.ports
    assert [(str(t.network), t.port, t.plaintext) for t in config.policy.private_targets] == [
        ("10.0.0.5/32", 25, True),
        ("fd00::1/128", 26, False),
    ]


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({}, "shared"),
        ({"SIGNET_SMTP_PRIVATE": "10.0.0.5/32:587"}, "always"),
        ({"SIGNET_SMTP_PRIVATE": "10.0.0.5/32:587", "SIGNET_DOMAIN_PROOF": "shared"}, "shared"),
        ({"SIGNET_DOMAIN_PROOF": "always"}, "always"),
    ],
)
def test_every_domain_needs_a_proof_where_owners_may_share_a_relay(tmp_path, changes, rule):
    assert every_domain_needs_proof(read(tmp_path, **changes)) is (rule == "always")


def test_no_secret_is_in_the_repr(tmp_path):
    config = read(
        tmp_path, MAIL_USERNAME="u", MAIL_PASSWORD="canary", DATABASE_URL="postgresql://u:canary@h/d"
    )
    assert "canary" not in repr(config)
    assert GOOD["SECRET_KEY"] not in repr(config)
    assert KEYRING not in repr(config)
