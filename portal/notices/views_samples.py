"""Where the links of a test email lead: what they show an affiliate is nobody's yet."""

from __future__ import annotations

from flask import Blueprint, render_template

blueprint = Blueprint("samples", __name__)


@blueprint.route("/affiliate/sample")
@blueprint.route("/preferences/sample", methods=["GET", "POST"])  # mail programs post to it: RFC 8058
def sample_link() -> str:
    """Say that a link is a sample. Changes nothing."""
    return render_template("notices/sample_link.html")
