"""Reports in words only: which addresses failed, and which words belong to each."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .addresses import ADDRESS, is_role, same
from .meaning import REPLY_CODE, STATUS
from .model import MAX_FINDINGS

if TYPE_CHECKING:
    from collections.abc import Sequence

_MAX_LINES = 400  # of the words before the returned message
_MAX_LINE_CHARS = 1000
_MAX_BLOCK_LINES = 14
_MAX_REPLY_LINES = 12
_MAX_WORDS_CHARS = 1500
# An address after these words is not a failed one.
_OTHER_ROLE = re.compile(
    r"(?:\bfrom|\bsender|mail from|reply-?to|return-?path|contact|message-?id|envelope-from|envelope sender|\bby|\bcc|\bvia|"
    r"\bhelp|\bask|\bemail|please mail|send (?:e?mail|a message)|said|please (?:e-?mail|write)|expanded|generated|"
    r"\bf=|sent by|hello|hi|dear|hallo|bonjour|hola)"
    r"[\s:=<\[(\"']*+(?:to [\s:=<\[(\"']*+)?$",
    re.IGNORECASE,
)
# Words before an address that label it as a recipient.
_LABEL = re.compile(
    r"^\W{0,20}(?:(?:final|original|failed|intended|envelope|invalid|e-?mail|mail|smtp|unknown|bad)[\s-]*+)?"
    r"(?:recipients?|rcpt|to|address(?:ee|ed|es)?|user|users|mailbox|account|empf[äa]nger|an|destinataire|destinatario|destinatário|"
    r"получатель|кому|收件人|宛先|受信者)(?:[\s-]*+(?:address(?:es)?|name|to|id|\(s\)))?\s*+[:=<\[\"'(-]*+(?:mailto:)?+\W*$",
    re.IGNORECASE,
)
_FAILURE = re.compile(
    r"deliver|fail|undeliver|reject|returned|mailbox|\buser\b|unknown|unable|could not|couldn.t|cannot|can.t|refus|"
    r"invalid|not found|"
    r"exceed|error|problem|not reach|reach the following|bounce|delay|warning|not accept|denied|block|disabled|"
    r"no such|does not exist|expired|duplicat|"
    r"zugestellt|zustell|fehl|unbekannt|nicht|remis|échou|distribu|erreur|impossible|entreg|error|rechaz|recapit|consegn|bezorg|"
    r"dostarcz|доставлен|доставк|ошибк|投递|无法|退信|失败|送达|配信|届|エラー|送信できま|存在|teslim|lever",
    re.IGNORECASE,
)
_HEADER = re.compile(r"^\s{0,20}(?:to|cc)\s?:", re.IGNORECASE)  # a field of the message, listed in the words
_CODES = re.compile(r"^\W{0,10}[245]\d\d(?:[ -][245]\.\d{1,3}\.\d{1,3})?\b")
_REASON = re.compile(
    r"^\W{0,10}(?:error|reason|grund|raison|motivo|причина|理由|原因)\s?[:：]\s*(\S.*)", re.IGNORECASE
)
_RULE = re.compile(r"^[\s\-=_*#~+]{4,}$")
_SESSION = re.compile(r"^\s*(?:>>>|<<<|\.\.\. while talking)")


@dataclass(frozen=True)
class Mention:
    """A place that names an address. ``rank`` is lower, the surer it is that the address failed."""

    address: str
    line: int
    rank: int


def mentions_in(lines: Sequence[str], excluded: Sequence[str]) -> list[Mention]:
    """Return the surest mentions of addresses that failed, each address once, in order.

    ``excluded`` are addresses of the sender of the message and of the report; they are returned only if none else is named.
    """
    found = [
        one
        for index, line in enumerate(lines[:_MAX_LINES])
        for one in _mentions(line[:_MAX_LINE_CHARS], index, lines)
    ]
    kept = [one for one in found if not any(same(one.address, other) for other in excluded)]
    for candidates in (kept, found):
        named = [one for one in candidates if not is_role(one.address)] or candidates
        best = min((one.rank for one in named), default=None)
        if best is not None and (candidates is kept or best < _WEAK):
            return _once([one for one in named if one.rank == best])
    return []


_BEGINS, _LABELLED, _IN_SENTENCE, _WEAK = 0, 1, 2, 3


def _once(mentions: list[Mention]) -> list[Mention]:
    first: dict[str, Mention] = {}
    for one in mentions:
        first.setdefault(one.address.replace('"', "").casefold(), one)
    return list(first.values())[:MAX_FINDINGS]


def _mentions(line: str, index: int, lines: Sequence[str]) -> list[Mention]:
    if "@" not in line:
        return []
    found = []
    for number, match in enumerate(ADDRESS.finditer(line)):
        before = line[: match.start()]
        if _OTHER_ROLE.search(before):
            continue
        address = f"{match[1]}@{match[2]}"
        if _HEADER.match(before):
            rank = _IN_SENTENCE
        elif number == 0 and not re.search(r"\w", _CODES.sub("", before).replace("mailto:", "")):
            rank = _BEGINS
        elif _LABEL.match(before):
            rank = _LABELLED
        elif _FAILURE.search(line) or (index and _FAILURE.search(lines[index - 1][:_MAX_LINE_CHARS])):
            rank = _IN_SENTENCE
        else:
            rank = _WEAK
        found.append(Mention(address, index, rank))
    return found


def words_about(lines: Sequence[str], mention: Mention, others: Sequence[Mention]) -> str:
    """Return the words that belong to a mention: from its line to the next address, a rule, or an empty line after words."""
    stops = {one.line for one in others if one.line > mention.line}
    block = [_rest_of_line(lines[mention.line], mention.address)]
    is_reply = bool(_CODES.match(block[0]))
    for index in range(mention.line + 1, min(len(lines), mention.line + _MAX_BLOCK_LINES)):
        line = lines[index]
        if (
            index in stops
            or (_RULE.match(line) and _has_words(block))
            or (is_reply and not line[:1].isspace())
        ):
            break
        block.append(line)
    return _reply_lines(block) or _first_paragraph(block) or _paragraph_before(lines, mention.line)


def _paragraph_before(lines: Sequence[str], end: int) -> str:
    """Return the lines right before the line of an address without words of its own."""
    taken: list[str] = []
    for line in reversed(lines[max(0, end - 3) : end]):
        if not line.strip() or _RULE.match(line):
            break
        taken.insert(0, line)
    return " ".join(taken).strip()[:_MAX_WORDS_CHARS]


def _rest_of_line(line: str, address: str) -> str:
    """Return the line without the address, so that parts of an address are no words of a server."""
    return line.replace(address, "<>", 1) if line.strip("<>:*\"' \t").casefold() != address.casefold() else ""


def _has_words(block: Sequence[str]) -> bool:
    return any(re.search(r"[^\W\d]{3}", line) for line in block)


def _reply_lines(block: Sequence[str]) -> str:
    """Return the lines from the first one with a code on, up to an empty line."""
    for index, line in enumerate(block):
        if (STATUS.search(line) or REPLY_CODE.search(line)) and not line.lstrip().startswith(">>>"):
            taken: list[str] = []
            start = (
                index - 1
                if index and block[index - 1].strip() and block[index - 1].rstrip().endswith(("said:", ":"))
                else index
            )
            for one in block[start : index + _MAX_REPLY_LINES]:
                if not one.strip() and taken:
                    break
                if not one.lstrip().startswith(">>>"):
                    taken.append(one.replace("<<<", " "))
            return " ".join(taken)[:_MAX_WORDS_CHARS]
    return ""


def _first_paragraph(block: Sequence[str]) -> str:
    taken: list[str] = []
    for line in block:
        if not line.strip() and _has_words(taken):
            break
        taken.append(line)
    return " ".join(taken).strip()[:_MAX_WORDS_CHARS]


def words_of_all(lines: Sequence[str]) -> str:
    """Return the reply that a text quotes anywhere, of a report about one recipient; "" if it quotes none."""
    cut = [line[:_MAX_LINE_CHARS] for line in lines[:_MAX_LINES]]
    return _reply_lines(cut) or next((found[1] for line in cut if (found := _REASON.match(line))), "")


def transcript_about(lines: Sequence[str], address: str) -> str:
    """Return the lines of an SMTP session after a command that names the address, such as those of Sendmail."""
    for index, line in enumerate(lines[:_MAX_LINES]):
        if address.casefold() in line.casefold() and (
            _SESSION.match(line) or REPLY_CODE.match(line.lstrip())
        ):
            block = [line] if REPLY_CODE.match(line.lstrip()) else []
            for one in lines[index + 1 : index + _MAX_REPLY_LINES]:
                if not one.lstrip().startswith("<<<"):
                    break
                block.append(one)
            if block:
                return " ".join(one.replace("<<<", " ") for one in block)[:_MAX_WORDS_CHARS]
    return ""


_DELAY = re.compile(
    r"will be retried|has been delayed|have been delayed|is being delayed|delivery (?:has been |is )?delayed|"
    r"delay(?:ed)? delivery|"
    r"warning message only|still undelivered|do not need to resend|will continue to (?:try|be)|will keep trying|"
    r"keep on trying|not yet been delivered|"
    r"has not yet been|could not be delivered for|has not been delivered within|will try again|delivery attempts will continue|"
    r"temporarily delayed|continue trying|still trying|"
    r"wird weiterhin|weitere zustellversuche|verzögert|sera retent|retard[ée]|se reintentar|retrasad|ritardat|"
    r"vertraagd|задержан|продолжа|延迟|遅延|引き続き",
    re.IGNORECASE,
)
_GIVEN_UP = re.compile(
    r"permanent|giv(?:en|ing) up|gave up|will not (?:be )?(?:continue|retr|try|redeliver)|"
    r"no further (?:delivery )?attempts|too long|has expired|"
    r"could not be delivered after|final|endgültig|définitiv|permanente|отказ|aborted|not going to try again|won.t be retried",
    re.IGNORECASE,
)


def is_delay(subject: str, lines: Sequence[str]) -> bool:
    """Return whether a plain-text report states that the sending server tries again."""
    text = "\n".join(line[:_MAX_LINE_CHARS] for line in lines[:60])
    return bool(_DELAY.search(subject) or (_DELAY.search(text) and not _GIVEN_UP.search(text)))


def says_failure(lines: Sequence[str]) -> bool:
    """Return whether the words are those of a failed or delayed delivery."""
    return any(_FAILURE.search(line[:_MAX_LINE_CHARS]) for line in lines[:_MAX_LINES])


_UNDELIVERED = re.compile(
    r"(?:could|was|were) not (?:be )?delivered|undeliverable|delivery (?:to the following|has failed|failed)|"
    r"送信できませんでした|配信できません",
    re.IGNORECASE,
)


def says_undelivered(lines: Sequence[str]) -> bool:
    """Return whether the words are those of no other mail than a report."""
    return any(_UNDELIVERED.search(line[:_MAX_LINE_CHARS]) for line in lines[:_MAX_LINES])
