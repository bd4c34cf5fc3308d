"""All adapters, by the id of the provider in the address of a hook."""

from __future__ import annotations

from .brevo import BREVO
from .generic import GENERIC
from .mailgun import MAILGUN
from .mailjet import MAILJET
from .postmark import POSTMARK
from .resend import RESEND
from .sendgrid import SENDGRID
from .ses import SES
from .sparkpost import SPARKPOST

ADAPTERS = {
    adapter.id: adapter
    for adapter in (SES, BREVO, MAILGUN, MAILJET, POSTMARK, RESEND, SENDGRID, SPARKPOST, GENERIC)
}
