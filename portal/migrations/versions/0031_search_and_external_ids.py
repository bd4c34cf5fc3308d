"""affiliates have external ids, notes and former codes, and are found whatever the accents of a search

The search texts are written anew, in batches, because rows of before were folded by case alone. Columns are added in place:
rebuilding a table in SQLite would drop what refers to it.
"""

import unicodedata

import idna
import sqlalchemy as sa
from alembic import op

revision = "0031"
down_revision = "0030"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_BATCH_ROWS = 1000
_AFFILIATE = sa.table("affiliate", *(sa.column(name) for name in ("id", "name", "mailbox", "code", "search_text")))
_SAME = str.maketrans(
    dict.fromkeys("’‘ʼ‛`´′＇ʹˈ", "'")
    | dict.fromkeys("‐‑‒–—―−", "-")
    | dict.fromkeys("“”„«»", '"')
    | {"ı": "i", "ø": "o", "đ": "d", "ð": "d", "ħ": "h", "ł": "l", "ŧ": "t", "þ": "th", "æ": "ae", "œ": "oe"}
)


def _fold(text: str) -> str:
    folded = unicodedata.normalize("NFKD", text[:1000].casefold().translate(_SAME))
    kept = (c for c in folded if unicodedata.category(c) not in {"Mn", "Cf"})
    return " ".join("".join(kept).casefold().translate(_SAME).split())


def _readable(mailbox: str) -> str:
    local, at, domain = mailbox.rpartition("@")
    if "xn--" not in domain:
        return mailbox
    try:
        return f"{local}{at}{idna.decode(domain)}"
    except idna.IDNAError:
        return mailbox


def _write_search_texts(text_of) -> None:
    bind, table = op.get_bind(), _AFFILIATE
    query = sa.select(table.c.id, table.c.name, table.c.mailbox, table.c.code, table.c.search_text).order_by(table.c.id)
    update = sa.update(table).where(table.c.id == sa.bindparam("row")).values(search_text=sa.bindparam("text"))
    last = 0
    while rows := bind.execute(query.where(table.c.id > last).limit(_BATCH_ROWS)).all():
        last = rows[-1].id
        changed = [{"row": row.id, "text": text} for row in rows if (text := text_of(row)) != row.search_text]
        if changed:
            bind.execute(update, changed)


def _new_text(row) -> str:
    parts = (row.name, row.mailbox, _readable(row.mailbox), row.code)
    return "\n".join(dict.fromkeys(_fold(part) for part in parts))


def _old_text(row) -> str:
    return f"{row.name}\n{row.mailbox}\n{row.code}".casefold()


def upgrade() -> None:
    op.add_column("affiliate", sa.Column("external_id", sa.String(100)))
    op.add_column("affiliate", sa.Column("notes", sa.Text(), nullable=False, server_default=""))
    where = sa.text("external_id IS NOT NULL")
    op.create_index(
        "ix_affiliate_external_id", "affiliate", ["account_id", "external_id"], unique=True,
        sqlite_where=where, postgresql_where=where,
    )
    op.add_column("affiliate_link", sa.Column("mailbox", sa.String(254)))
    op.add_column("api_request", sa.Column("affiliate_id", _ID))
    op.create_table(
        "former_code",
        sa.Column("code", sa.String(32), nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("affiliate_id", _ID, nullable=False),
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name="fk_former_code_account_id_account"),
        sa.ForeignKeyConstraint(
            ["affiliate_id"], ["affiliate.id"], name="fk_former_code_affiliate_id_affiliate", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("code", name="pk_former_code"),
    )
    op.create_index("ix_former_code_affiliate_id", "former_code", ["affiliate_id"])
    _write_search_texts(_new_text)


def downgrade() -> None:
    _write_search_texts(_old_text)
    op.drop_table("former_code")
    op.execute("ALTER TABLE api_request DROP COLUMN affiliate_id")
    op.execute("DELETE FROM affiliate_link WHERE purpose = 'mailbox'")  # no link of before means anything without the column
    op.execute("ALTER TABLE affiliate_link DROP COLUMN mailbox")
    op.drop_index("ix_affiliate_external_id", "affiliate")
    op.execute("ALTER TABLE affiliate DROP COLUMN notes")
    op.execute("ALTER TABLE affiliate DROP COLUMN external_id")
