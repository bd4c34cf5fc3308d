"""Replies in the charset of their server's system are decoded, for the transcript and for the diagnosis."""

from __future__ import annotations

import pytest

from portal.smtp.diagnosis.diagnose import DiagnosisKind, diagnose
from portal.smtp.diagnosis.explain_cli import explain_reply
from portal.smtp.failure import Stage, SubmissionFailure
from portal.smtp.protocol.charsets import decode_guessing, is_utf8, undo_wrong_decoding
from portal.smtp.protocol.session import Session

from ..badserver import PASSWORD, BadServer, holds_secret, serve_correctly, server_at

TEXTS = [
    ("gbk", "请使用授权码登录"),
    ("gbk", "Error: 密码错误，登录失败"),
    ("gbk", "您的邮箱未开启SMTP服务，请在设置中开启"),
    ("gb18030", "发件人地址与登录用户不一致"),
    ("big5", "收件人信箱已滿，請稍後再試"),
    ("big5", "使用者名稱或密碼錯誤"),
    ("shift_jis", "認証に失敗しました"),
    ("shift_jis", "宛先のメールボックスがいっぱいです"),
    ("euc_jp", "ユーザー名またはパスワードが正しくありません"),
    ("iso2022_jp", "送信者アドレスが許可されていません"),
    ("euc_kr", "사용자 이름 또는 비밀번호가 올바르지 않습니다"),
    ("koi8-r", "Неверное имя пользователя или пароль"),
    ("cp1251", "Неверное имя пользователя или пароль"),
    ("cp1251", "Почтовый ящик переполнен"),
    ("koi8-r", "Превышен лимит отправки писем"),
    ("latin-1", "Benutzername oder Passwort ungültig"),
    ("latin-1", "Boîte aux lettres pleine"),
    ("cp1252", "Échec d’authentification : mot de passe erroné"),
    ("latin-1", "La contraseña no es válida; buzón lleno"),
    ("latin-1", "Usuário não autorizado a enviar através deste servidor"),
    ("latin-1", "La casella è piena"),
    ("iso8859-2", "Nieprawidłowe hasło użytkownika"),
    ("cp1250", "Błąd: nieprawidłowa nazwa użytkownika lub hasło"),
    ("iso8859-9", "Kullanıcı adı veya şifre yanlış"),
]


@pytest.mark.parametrize(("charset", "text"), TEXTS)
def test_a_text_is_decoded_by_its_charset(charset: str, text: str) -> None:
    raw = text.encode(charset)
    assert not is_utf8(raw)
    assert decode_guessing(raw) == text
    assert decode_guessing(b"535 5.7.8 " + raw + b" (see http://mail.example.cn/help?id=28)").count(text) == 1


@pytest.mark.parametrize("text", [text for _, text in TEXTS])
def test_utf_8_stays_utf_8_also_when_it_is_cut_in_a_letter(text: str) -> None:
    raw = text.encode()
    assert is_utf8(raw)
    assert is_utf8(raw[:-1])


@pytest.mark.parametrize("raw", [b"550 \x80\x81\x82", b"\x81\x8d\x8f\x90\x9d", b"no \xff\x00\xfe\x80"])
def test_octets_of_no_charset_become_replacement_characters(raw: bytes) -> None:
    assert "\ufffd" in decode_guessing(raw)


@pytest.mark.parametrize(
    ("charset", "text"), [one for one in TEXTS if one[0] in {"gbk", "big5", "cp1251", "koi8-r"}]
)
def test_a_text_that_was_read_as_latin_1_is_repaired(charset: str, text: str) -> None:
    assert undo_wrong_decoding(text.encode(charset).decode("latin-1")) == text
    assert undo_wrong_decoding(text.encode().decode("latin-1")) == text


@pytest.mark.parametrize(
    "text", [text for _, text in TEXTS] + ["plain", "Größe: 5 €", "naïve café – déjà vu", "año"]
)
def test_a_text_that_was_read_rightly_stays(text: str) -> None:
    assert undo_wrong_decoding(text) == text


def refused(reply: bytes) -> tuple[SubmissionFailure, str]:
    with BadServer(lambda peer: serve_correctly(peer, {"AUTH": reply})) as bad:
        session = Session(server_at(bad.port))
        with pytest.raises(SubmissionFailure) as raised:
            session.open()
        return raised.value, str(session.transcript)


@pytest.mark.parametrize("charset", ["gbk", "utf-8", "gb18030"])
def test_a_reply_in_gbk_is_read_in_transcript_and_diagnosis(charset: str) -> None:
    text = "请使用授权码登录。详情请看"
    failure, transcript = refused(b"535 Error: " + text.encode(charset) + b"\r\n")
    assert text in transcript
    assert failure.reply and text in failure.reply.text
    assert diagnose(failure, server_at(1)).kind is DiagnosisKind.APP_PASSWORD


def test_each_line_of_a_reply_is_decoded() -> None:
    lines = b"535-" + "密码错误".encode("gbk") + b"\r\n535 " + "请重新输入密码".encode("gbk") + b"\r\n"
    failure, _ = refused(lines)
    assert failure.reply and failure.reply.lines == ("密码错误", "请重新输入密码")
    assert failure.stage is Stage.AUTH


@pytest.mark.parametrize("charset", ["utf-8", "latin-1"])
def test_a_password_that_is_echoed_beside_octets_of_another_charset_is_hidden(charset: str) -> None:
    failure, transcript = refused(
        b"535 \xc3\xdc\xc2\xeb\xb4\xed\xce\xf3: " + PASSWORD.encode(charset) + b"\r\n"
    )
    shown = f"{failure} {transcript}"
    assert not holds_secret(shown.encode())
    assert PASSWORD not in shown
    assert "pass phrase" not in shown


def test_a_pasted_reply_with_lost_letters_is_explained_by_its_link() -> None:
    reply = "535 Error: \ufffd\ufffd\u02b9\ufffd: http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=28&&no=1001256"
    assert explain_reply("smtp.qq.com", "AUTH", reply).kind is DiagnosisKind.APP_PASSWORD
