"""The operator's page of the platform's sender: its variables, and a check with stages and diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import render_template
from flask_babel import gettext as _
from flask_login import current_user

from ..clock import utcnow
from ..settings.checking import check_view
from ..settings.models import CheckState, SettingsCheck
from ..smtp.failure import Stage
from ..state import current_config
from ..web.labels import diagnosis_view
from . import platform_sender
from .views import blueprint

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue

    from .platform_sender import SenderCheck


@blueprint.get("/platform-sender")
def show_platform_sender() -> ResponseReturnValue:
    return _page()


@blueprint.post("/platform-sender/check")
def check_platform_sender() -> ResponseReturnValue:
    """Run the check and show its result, which is stored nowhere."""
    if not platform_sender.count_check(now=utcnow()):
        return _page(trouble=_("There were too many checks in the last hour. Wait a few minutes.")), 429
    try:
        found = platform_sender.check(current_user.mailbox, deadline_s=platform_sender.PAGE_DEADLINE_S)
    except platform_sender.NoSender:
        return _page(), 422
    except platform_sender.UnusableSender as trouble:
        return _page(trouble=f"{trouble.cause} {trouble.fix}"), 422
    return _page(**_shown(found))


def _shown(found: SenderCheck) -> dict[str, Any]:
    """Return the result as the check of an account's settings is shown. Its last stage is not run here."""
    stages = [result.as_dict() for result in found.report.stages]
    passed = found.diagnosis is None
    row = SettingsCheck(stages=stages, state=CheckState.PASSED if passed else CheckState.FAILED)
    summary = (
        _("All steps up to the recipient %(recipient)s passed. No email was sent.", recipient=found.recipient)
        if passed
        else check_view.summary(row)
    )
    return {
        "stages": [one for one in check_view.stages(row) if one["key"] != Stage.DATA],
        "summary": summary,
        "diagnosis": diagnosis_view(found.diagnosis.as_dict(), stages) if found.diagnosis else None,
    }


def _page(**more: Any) -> str:
    return render_template("operator/platform_sender.html", platform=current_config().platform, **more)
