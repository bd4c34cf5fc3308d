"""The command line of ``flask worker``."""


def test_the_removed_option_processes_is_answered_by_what_replaces_it(app):
    result = app.test_cli_runner().invoke(args=["worker", "--processes", "2"])
    assert result.exit_code == 2
    assert "--processes was removed" in result.output
    assert "signet-worker@2" in result.output


def test_help_does_not_list_the_removed_option(app):
    result = app.test_cli_runner().invoke(args=["worker", "--help"])
    assert result.exit_code == 0
    assert "--processes" not in result.output
