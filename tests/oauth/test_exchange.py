"""The lines for PowerShell hold the owner's values, and no value can end its quotes."""

from __future__ import annotations

from portal.oauth.exchange import exchange_lines
from tests.oauth.conftest import CLIENT, TENANT


def test_values_are_filled_in() -> None:
    lines = exchange_lines(CLIENT, TENANT, "o'brien@brightleaf.example")
    assert f'New-ServicePrincipal -AppId {CLIENT} -ObjectId {TENANT} -DisplayName "Signet"' in lines.rbac
    assert "PrimarySmtpAddress -eq 'o''brien@brightleaf.example'" in lines.rbac
    assert f'-App {TENANT} -Role "Application SMTP.SendAsApp"' in lines.rbac
    assert f"-User {TENANT} -AccessRights FullAccess" in lines.classic
    assert "FullAccess" not in lines.rbac
    assert lines.mailbox.endswith("-SmtpClientAuthenticationDisabled $false")


def test_what_is_no_id_becomes_a_placeholder() -> None:
    lines = exchange_lines("x; Remove-Mailbox", "", "")
    assert "Remove-Mailbox" not in lines.rbac + lines.classic
    assert "-AppId <client ID> -ObjectId <object ID of the enterprise application>" in lines.rbac
    assert "'<mailbox>'" in lines.mailbox
