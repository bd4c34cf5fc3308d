"""where an affiliate stands, and the events that cause emails"""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_MOMENT = sa.DateTime(timezone=True)
_AT_ONCE = 500  # rows


def upgrade() -> None:
    with op.batch_alter_table("account") as table:
        table.add_column(sa.Column("time_zone", sa.String(length=64), nullable=False, server_default="UTC"))
    _affiliates()
    _letters()
    _events()
    _what_is_there()


def _affiliates() -> None:
    with op.batch_alter_table("affiliate") as table:
        table.add_column(sa.Column("preferences_key", sa.String(length=40), nullable=True))
        table.add_column(sa.Column("state", sa.String(length=12), nullable=False, server_default="active"))
        table.add_column(sa.Column("state_since", _MOMENT, nullable=True))
        table.add_column(sa.Column("search_text", sa.Text(), nullable=False, server_default=""))
        table.add_column(sa.Column("confirmed_at", _MOMENT, nullable=True))
        table.alter_column("consented_at", existing_type=_MOMENT, nullable=True)
    _keys()
    with op.batch_alter_table("affiliate") as table:
        table.alter_column("preferences_key", existing_type=sa.String(length=40), nullable=False)
        table.create_unique_constraint(op.f("uq_affiliate_preferences_key"), ["preferences_key"])
        table.create_index("ix_affiliate_state", ["account_id", "state", "id"])
        table.create_index("ix_affiliate_unconfirmed", ["state", "created_at"])


def _keys() -> None:
    """Give each affiliate a key of its own, and the text the search looks through."""
    affiliate = sa.table(
        "affiliate",
        *(sa.column(name) for name in ("id", "name", "mailbox", "code", "preferences_key", "search_text")),
    )
    columns = affiliate.c
    query = sa.select(columns.id, columns.name, columns.mailbox, columns.code)
    for row in op.get_bind().execute(query).all():
        values = {
            "preferences_key": secrets.token_urlsafe(24),
            "search_text": f"{row.name}\n{row.mailbox}\n{row.code}".casefold(),
        }
        op.get_bind().execute(affiliate.update().where(columns.id == row.id).values(values))


def _letters() -> None:
    op.create_table(
        "affiliate_link",
        sa.Column("id", _ID, nullable=False),
        sa.Column("token_hash", sa.String(length=64), nullable=False),
        sa.Column("affiliate_id", _ID, nullable=False),
        sa.Column("purpose", sa.String(length=12), nullable=False),
        sa.Column("message_id", _ID, nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("used_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["affiliate_id"], ["affiliate.id"], name=op.f("fk_affiliate_link_affiliate_id_affiliate")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_affiliate_link")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_affiliate_link_token_hash")),
    )
    op.create_index(op.f("ix_affiliate_link_affiliate_id"), "affiliate_link", ["affiliate_id"])
    op.create_table(
        "opt_out",
        sa.Column("affiliate_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["affiliate_id"], ["affiliate.id"], name=op.f("fk_opt_out_affiliate_id_affiliate")
        ),
        sa.PrimaryKeyConstraint("affiliate_id", "kind", name=op.f("pk_opt_out")),
    )
    op.create_table(
        "suppression",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("mailbox_key", sa.String(length=254), nullable=False),
        sa.Column("reason", sa.String(length=12), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_suppression_account_id_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_suppression")),
        sa.UniqueConstraint(
            "account_id", "mailbox_key", name=op.f("uq_suppression_account_id_mailbox_key")
        ),
    )
    op.create_index("ix_suppression_list", "suppression", ["account_id", "id"])
    op.create_table(
        "sign_up_rules",
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("auto_approve", sa.Boolean(), nullable=False),
        sa.Column("confirm", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_sign_up_rules_account_id_account")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_sign_up_rules")),
    )


def _events() -> None:
    op.create_table(
        "event",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("affiliate_id", _ID, nullable=True),
        sa.Column("occasion", sa.String(length=24), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("values", sa.JSON(), nullable=False),
        sa.Column("source", sa.String(length=12), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_event_account_id_account")),
        sa.ForeignKeyConstraint(
            ["affiliate_id"], ["affiliate.id"], name=op.f("fk_event_affiliate_id_affiliate")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("account_id", "key", name=op.f("uq_event_account_id_key")),
    )
    op.create_index("ix_event_list", "event", ["account_id", "id"])
    op.create_index("ix_event_affiliate", "event", ["affiliate_id", "id"])
    op.create_index("ix_event_week", "event", ["account_id", "occasion", "created_at"])
    op.create_table(
        "event_mail",
        sa.Column("id", _ID, nullable=False),
        sa.Column("event_id", _ID, nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("recipient", sa.String(length=254), nullable=False),
        sa.Column("message_id", _ID, nullable=True),
        sa.Column("why", sa.String(length=20), nullable=False),
        sa.ForeignKeyConstraint(["event_id"], ["event.id"], name=op.f("fk_event_mail_event_id_event")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event_mail")),
    )
    op.create_index(op.f("ix_event_mail_event_id"), "event_mail", ["event_id"])
    op.create_index(op.f("ix_event_mail_message_id"), "event_mail", ["message_id"])
    op.create_table(
        "summary_week",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("week", sa.String(length=8), nullable=False),
        sa.Column("starts_at", _MOMENT, nullable=False),
        sa.Column("ends_at", _MOMENT, nullable=False),
        sa.Column("due_at", _MOMENT, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("after_id", _ID, nullable=False),
        sa.Column("ended_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_summary_week_account_id_account")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_summary_week")),
        sa.UniqueConstraint("account_id", "week", name=op.f("uq_summary_week_account_id_week")),
    )
    op.create_index("ix_summary_week_state", "summary_week", ["state", "due_at"])


def _what_is_there() -> None:
    """Tell of those who signed up before there were events, and let their programmes go on as they did."""
    bind = op.get_bind()
    account = sa.table("account", sa.column("id"))
    rules = sa.table("sign_up_rules", *(sa.column(n) for n in ("account_id", "auto_approve", "confirm")))
    as_before = sa.select(account.c.id, sa.true(), sa.false())
    bind.execute(rules.insert().from_select(["account_id", "auto_approve", "confirm"], as_before))
    names = ("id", "account_id", "affiliate_id", "occasion", "key", "source", "created_at")
    event = sa.table("event", *(sa.column(name) for name in names), sa.column("values", sa.JSON()))
    affiliate = sa.table("affiliate", *(sa.column(name) for name in ("id", "account_id", "created_at")))
    rows = [
        {
            "account_id": row.account_id,
            "affiliate_id": row.id,
            "occasion": "signed-up",
            "key": f"signed-up:{row.id}",
            "values": {},
            "source": "portal",
            "created_at": row.created_at,
        }
        for row in bind.execute(sa.select(affiliate.c.id, affiliate.c.account_id, affiliate.c.created_at))
    ]
    for at in range(0, len(rows), _AT_ONCE):
        bind.execute(event.insert(), rows[at : at + _AT_ONCE])
    op.execute(
        "INSERT INTO event_mail (event_id, kind, recipient, message_id, why) "
        "SELECT event.id, 'new-sign-up', affiliate.mailbox, outbox_message.id, "
        "CASE WHEN outbox_message.id IS NULL THEN 'notice-off' ELSE '' END "
        "FROM event JOIN affiliate ON affiliate.id = event.affiliate_id "
        "LEFT JOIN outbox_message ON outbox_message.key = 'new-sign-up:' || affiliate.id"
    )
