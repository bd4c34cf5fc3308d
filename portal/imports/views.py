"""The pages of an import: upload, columns and preview, faults as a file, progress."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, abort, flash, redirect, render_template, request, url_for
from flask_babel import gettext as _
from flask_login import current_user

from .. import audit
from ..clock import utcnow
from ..web import owner_limits
from ..web.csv import csv_header, csv_lines
from ..web.errors import ErrorPage, error_page
from . import uploads
from .columns import Choices
from .forms import ChoicesForm, UploadForm, choices_form
from .models import AffiliateImport, ImportState
from .reading import MAX_BYTES, FileRefused

blueprint = Blueprint("imports", __name__, url_prefix="/affiliates/import")
_ID = "<int(max=999999999999):import_id>"
_SHOWN_FAULTS = 100
_FORM_BYTES = 64 * 1024  # of a request besides the file


@blueprint.url_value_preprocessor
def _allow_files(_endpoint: str | None, _values: dict[str, Any] | None) -> None:
    """Let the upload be larger than other requests. Runs before the CSRF check reads the form."""
    if request.endpoint == "imports.upload":
        request.max_content_length = MAX_BYTES + _FORM_BYTES


@blueprint.get("")
def index() -> Any:
    return _upload_page(UploadForm(formdata=None))


@blueprint.post("")
def upload() -> Any:
    form = UploadForm()
    if not form.validate():
        return _upload_page(form, form_errors=True), 422
    file = form.file.data
    try:
        uploaded = uploads.UploadedFile(
            file.filename, file.read(MAX_BYTES + 1), form.key.data, current_user.name
        )
        row = uploads.upload(current_user.account_id, uploaded, now=utcnow())
    except FileRefused as error:
        form.file.errors = [str(error)]
        return _upload_page(form, form_errors=True), 422
    return redirect(url_for(".show", import_id=row.id), 303)


@blueprint.get(f"/{_ID}")
def show(import_id: int) -> Any:
    row = _import_or_404(import_id)
    if row.state is not ImportState.UPLOADED:
        return render_template(
            "imports/progress.html", row=row, states=ImportState, choices=Choices.load(row.choices)
        )
    found = _preview(row)
    return _preview_page(row, found, choices_form(found.headings, Choices.load(row.choices)))


@blueprint.post(f"/{_ID}")
def choose(import_id: int) -> Any:
    row = _import_or_404(import_id)
    if row.state is not ImportState.UPLOADED:
        return redirect(url_for(".show", import_id=import_id), 303)
    found = _preview(row)
    form = choices_form(found.headings, None)
    if not form.validate():
        return _preview_page(row, found, form, form_errors=True), 422
    try:
        uploads.save_choices(row, form.choices())
    except FileRefused as error:  # the line of headings is one more
        form.has_headings.errors = [str(error)]
        return _preview_page(row, found, form, form_errors=True), 422
    return redirect(url_for(".show", import_id=import_id, _anchor="preview"), 303)


@blueprint.post(f"/{_ID}/start")
def start(import_id: int) -> Any:
    row = _import_or_404(import_id)
    if row.state is ImportState.UPLOADED:
        found = _preview(row)
        all_or_nothing = request.form.get("lines") != "valid"
        problem = ""
        if not found.valid:
            problem = _("No line is valid, so nothing was added.")
        elif found.faulty and all_or_nothing:
            problem = _(
                "Some lines are not valid, so nothing was added. Correct the file, or add the valid lines only."
            )
        elif found.emails and not found.has_server:
            problem = _(
                "Emails of an import leave through your own server only. Save your SMTP settings first."
            )
        if problem:
            form = choices_form(found.headings, Choices.load(row.choices))
            return _preview_page(row, found, form, problem=problem), 422
        uploads.start(current_user.account_id, import_id, total=len(found.lines))
    return redirect(url_for(".show", import_id=import_id), 303)


@blueprint.post(f"/{_ID}/stop")
def stop(import_id: int) -> Any:
    row = _import_or_404(import_id)
    uploads.stop(current_user.account_id, row.id, now=utcnow())
    flash(_("The import is stopped, and its file is deleted."), "success")
    return redirect(url_for(".index"), 303)


@blueprint.post(f"/{_ID}/faults.csv")
def faults(import_id: int) -> Any:
    """Return the lines that are not valid, as they came, each with its line number and what is wrong."""
    row = _import_or_404(import_id)
    if row.state is not ImportState.UPLOADED:
        abort(404)
    found = _preview(row)
    target = audit.AuditTarget("import", row.id)
    audit.record_alone(audit.Activity.IMPORT_FAULTS_EXPORTED, current_user.account_id, target=target)
    lines = [(line.number, " ".join(line.problems), *line.cells) for line in found.faulty]
    text = csv_header([_("Line"), _("What is wrong"), *found.headings]) + csv_lines(lines)
    response = Response(text, mimetype="text/csv")
    response.headers["Content-Disposition"] = 'attachment; filename="faults.csv"'
    return response


def _import_or_404(import_id: int) -> AffiliateImport:
    return uploads.find(current_user.account_id, import_id) or abort(404)


def _preview(row: AffiliateImport) -> uploads.ImportPreview:
    return uploads.preview_for_owner(row, now=utcnow())


@blueprint.errorhandler(owner_limits.LimitReached)
def _too_many_previews(reached: owner_limits.LimitReached) -> Any:
    page = ErrorPage(_("Too many previews"), str(reached), _("Your file and your columns are kept."))
    return error_page(429, page=page)


def _upload_page(form: UploadForm, **more: object) -> str:
    imports = uploads.list_newest(current_user.account_id)
    return render_template("imports/upload.html", form=form, imports=imports, states=ImportState, **more)


def _preview_page(
    row: AffiliateImport, found: uploads.ImportPreview, form: ChoicesForm, **more: object
) -> str:
    return render_template(
        "imports/preview.html",
        row=row,
        preview=found,
        form=form,
        choices=Choices.load(row.choices),
        valid=len(found.valid),
        faults=found.faulty[:_SHOWN_FAULTS],
        faulty=len(found.faulty),
        shown=_SHOWN_FAULTS,
        examples=found.valid[:10],
        doubts=found.doubtful[:_SHOWN_FAULTS],
        doubtful=len(found.doubtful),
        **more,
    )
