"""What to ask about an email address that is probably mistyped or has no person who reads it. None is refused here."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

# Providers of many mailboxes. A domain of this list is never questioned.
_PROVIDERS_TEXT = """
gmail.com googlemail.com yahoo.com ymail.com rocketmail.com yahoo.co.uk yahoo.co.jp yahoo.co.in yahoo.fr yahoo.de
yahoo.it yahoo.es yahoo.ca yahoo.com.br yahoo.com.au hotmail.com hotmail.co.uk hotmail.fr hotmail.de hotmail.it
hotmail.es outlook.com outlook.de outlook.fr outlook.es outlook.it live.com live.co.uk live.de live.fr live.nl
live.it msn.com icloud.com me.com mac.com aol.com aol.de aim.com gmx.de gmx.net gmx.com gmx.at gmx.ch gmx.us web.de
t-online.de freenet.de arcor.de mail.de posteo.de mailbox.org mail.com email.com proton.me protonmail.com pm.me
tutanota.com tuta.com zoho.com fastmail.com fastmail.fm hey.com yandex.ru yandex.com ya.ru mail.ru inbox.ru bk.ru
list.ru rambler.ru qq.com 163.com 126.com sina.com foxmail.com naver.com daum.net hanmail.net orange.fr wanadoo.fr
free.fr sfr.fr laposte.net bbox.fr neuf.fr libero.it virgilio.it tiscali.it alice.it tin.it btinternet.com
btopenworld.com sky.com virginmedia.com ntlworld.com talktalk.net comcast.net verizon.net att.net sbcglobal.net
bellsouth.net cox.net charter.net earthlink.net optonline.net shaw.ca rogers.com sympatico.ca telus.net bigpond.com
optusnet.com.au ziggo.nl kpnmail.nl planet.nl home.nl xs4all.nl telenet.be skynet.be proximus.be bluewin.ch
hispeed.ch chello.at wp.pl o2.pl onet.pl interia.pl seznam.cz centrum.cz abv.bg uol.com.br bol.com.br terra.com.br
terra.es telefonica.net sapo.pt rediffmail.com walla.co.il telia.com online.no
"""
_PROVIDERS = frozenset(_PROVIDERS_TEXT.split())
# Only these are suggested for what is one letter away: short domains resemble too many others.
_SUGGESTED = tuple(sorted(name for name in _PROVIDERS if len(name.partition(".")[0]) >= 5))
_MAX_DOMAIN_CHARS = 40
# Endings that no domain has, and what was meant.
_ENDINGS = {
    ending: meant
    for meant, endings in {
        "com": "c con cmo ocm vom xom comm coom cpm clm c0m coml comn ccom cim dom cop",
        "net": "nte ent nett ner met",
        "org": "ogr orh rog orgg ort",
        "de": "d ed dee dw",
        "fr": "rf frr",
    }.items()
    for ending in endings.split()
}
# RFC 2142 names and names of senders that no person reads.
_ROLES_TEXT = """
postmaster abuse hostmaster mailer-daemon mailerdaemon noreply no-reply no_reply no.reply donotreply do-not-reply
do_not_reply bounce bounces daemon root listserv majordomo spam null devnull
"""
_ROLES = frozenset(_ROLES_TEXT.split())
# Gateways that turn emails into text messages on phones.
_TEXT_MESSAGES_TEXT = """
vtext.com vzwpix.com txt.att.net mms.att.net tmomail.net messaging.sprintpcs.com pm.sprint.com email.uscc.net
mms.uscc.net msg.fi.google.com sms.myboostmobile.com mymetropcs.com mmst5.tracfone.com vmobl.com
text.republicwireless.com
"""
_TEXT_MESSAGES = frozenset(_TEXT_MESSAGES_TEXT.split())


class Doubt(StrEnum):
    """Why an address is asked about."""

    TYPING = "typing"  # a provider's domain is one letter away, or the ending exists nowhere
    ROLE = "role"  # a name that belongs to a server or a team, not to a person
    TEXT_MESSAGES = "text-messages"  # a phone shows no links and cuts the text


@dataclass(frozen=True)
class Question:
    """``suggestion`` is the address that was probably meant; empty if there is none."""

    doubt: Doubt
    suggestion: str = ""


def question_about(mailbox: str) -> Question | None:
    """Return what to ask about an address, or None for a usual one."""
    local, _, domain = mailbox.rpartition("@")
    domain = domain.casefold()
    meant = _meant_domain(domain)
    if meant:
        return Question(Doubt.TYPING, f"{local}@{meant}")
    if domain in _TEXT_MESSAGES:
        return Question(Doubt.TEXT_MESSAGES)
    if local.casefold().partition("+")[0] in _ROLES:
        return Question(Doubt.ROLE)
    return None


@lru_cache(maxsize=1024)  # the same few domains recur with every sign-up
def _meant_domain(domain: str) -> str:
    """Return the domain that was probably meant, or an empty text if this one is as likely."""
    if domain in _PROVIDERS or len(domain) > _MAX_DOMAIN_CHARS:
        return ""
    host, _, ending = domain.rpartition(".")
    if ending in _ENDINGS:
        with_real_ending = f"{host}.{_ENDINGS[ending]}"
        return _nearest(with_real_ending) or with_real_ending
    return _nearest(domain)


def _nearest(domain: str) -> str:
    """Return the provider whose domain differs by one letter: another, missing, added, or two swapped.

    Where only the ending differs, ``.com`` alone is suggested: yahoo.com.ar is as real as yahoo.com.br.
    """
    host, _, ending = domain.partition(".")
    if domain in _PROVIDERS:
        return domain
    if f"{host}.com" in _PROVIDERS:
        return f"{host}.com" if _is_one_step(ending, "com") else ""
    return next((known for known in _SUGGESTED if _is_one_step(domain, known)), "")


def _is_one_step(typed: str, meant: str) -> bool:
    if abs(len(typed) - len(meant)) > 1:
        return False
    same = next((i for i, (a, b) in enumerate(zip(typed, meant, strict=False)) if a != b), None)
    if same is None:
        return len(typed) != len(meant)
    if len(typed) == len(meant):
        swapped = typed[same : same + 2] == meant[same : same + 2][::-1]
        return typed[same + 1 :] == meant[same + 1 :] or (swapped and typed[same + 2 :] == meant[same + 2 :])
    longer, shorter = (typed, meant) if len(typed) > len(meant) else (meant, typed)
    return longer[same + 1 :] == shorter[same:]
