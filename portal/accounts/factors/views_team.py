"""What owners decide about second factors on the page *Team*."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import abort, flash, redirect, request, url_for
from flask_babel import gettext as _
from flask_login import current_user

from ...clock import utcnow
from ..team.members import NoMember, NotAllowed
from ..team.views import team_page
from . import demanding
from .demanding import BelongsElsewhere, NoFactor
from .views import blueprint

if TYPE_CHECKING:
    from flask.typing import ResponseReturnValue


@blueprint.post("/team/second-factor")
def demand() -> ResponseReturnValue:
    is_on = request.form.get("demand") == "on"
    try:
        demanding.demand(current_user, is_on=is_on)
    except NotAllowed:
        abort(403)
    except NoFactor:
        return team_page(problem=_("Set up a second factor for yourself first, under Account.")), 409
    if is_on:
        flash(_("Everyone in this programme now needs a second factor."), "success")
    else:
        flash(_("A second factor is now optional."), "success")
    return redirect(url_for("team.index"), 303)


@blueprint.post("/team/<int(max=999999999999):member_id>/second-factor/reset")
def reset_member(member_id: int) -> ResponseReturnValue:
    try:
        demanding.reset_member(current_user, member_id, now=utcnow())
    except NoMember:
        abort(404)
    except NotAllowed:
        return team_page(problem=_("You can change your own second factor under Account.")), 403
    except NoFactor:
        return team_page(problem=_("This person has no second factor.")), 409
    except BelongsElsewhere:
        problem = _(
            "This person also works in other programmes or as an operator. Only the operator of this portal "
            "can remove their second factor."
        )
        return team_page(problem=problem), 409
    flash(_("The second factor is removed, and the person is logged out everywhere."), "success")
    return redirect(url_for("team.index"), 303)
