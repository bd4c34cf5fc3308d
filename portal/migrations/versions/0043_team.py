"""several people in an account: roles, invitations, the contact, and the account that a session shows"""

import sqlalchemy as sa
from alembic import op

revision = "0043"
down_revision = "0042"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)
_DRAFT = "kind, subject, html, text, markdown, based_on, updated_at"


def upgrade() -> None:
    op.create_table(
        "membership",
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("role", sa.String(12), nullable=False),
        sa.Column("joined_at", _TIME, nullable=False),
        sa.Column("invited_by", sa.String(100), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_membership_account_id_account")),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_membership_owner_id_owner")),
        sa.PrimaryKeyConstraint("owner_id", "account_id", name=op.f("pk_membership")),
    )
    op.create_index(op.f("ix_membership_account_id"), "membership", ["account_id"])
    op.execute(
        "INSERT INTO membership (owner_id, account_id, role, joined_at, invited_by)"
        " SELECT id, account_id, 'owner', created_at, '' FROM owner"
    )
    op.add_column("account", sa.Column("contact_id", _ID, nullable=True))
    op.execute(
        "UPDATE account SET contact_id = (SELECT MIN(owner.id) FROM owner WHERE owner.account_id = account.id)"
    )
    op.create_table(
        "team_invitation",
        sa.Column("id", _ID, nullable=False),
        sa.Column("account_id", _ID, nullable=False),
        sa.Column("mailbox", sa.String(254), nullable=False),
        sa.Column("mailbox_key", sa.String(254), nullable=False),
        sa.Column("role", sa.String(12), nullable=False),
        sa.Column("is_handover", sa.Boolean(), nullable=False),
        sa.Column("is_emailed", sa.Boolean(), nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("inviter_id", _ID, nullable=False),
        sa.Column("inviter_name", sa.String(100), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.Column("withdrawn_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_team_invitation_account_id_account")),
        sa.ForeignKeyConstraint(["inviter_id"], ["owner.id"], name=op.f("fk_team_invitation_inviter_id_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_team_invitation")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_team_invitation_token_hash")),
    )
    op.create_index(op.f("ix_team_invitation_account_id"), "team_invitation", ["account_id"])
    op.create_index(op.f("ix_team_invitation_inviter_id"), "team_invitation", ["inviter_id"])
    with op.batch_alter_table("owner_session") as table:
        table.add_column(sa.Column("account_id", _ID, nullable=True))
    op.execute(
        "UPDATE owner_session SET account_id ="
        " (SELECT owner.account_id FROM owner WHERE owner.id = owner_session.owner_id)"
    )
    with op.batch_alter_table("owner_session") as table:
        table.alter_column("account_id", existing_type=_ID, nullable=False)
        table.create_foreign_key(op.f("fk_owner_session_account_id_account"), "account", ["account_id"], ["id"])
    _rebuild_drafts(with_account=True)


def downgrade() -> None:
    """The release before has no roles: each member of an account becomes its owner.

    A person who owns no account could then do more than before, so these people are deleted with their log-ins.
    """
    owns = "SELECT account_id FROM membership WHERE owner_id = owner.id AND role = 'owner'"
    op.execute(
        f"UPDATE owner SET account_id = (SELECT MIN(account_id) FROM ({owns}) AS owned)"
        f" WHERE EXISTS ({owns}) AND account_id NOT IN ({owns})"
    )
    _rebuild_drafts(with_account=False)
    with op.batch_alter_table("owner_session") as table:
        table.drop_constraint(op.f("fk_owner_session_account_id_account"), type_="foreignkey")
        table.drop_column("account_id")
    op.drop_table("team_invitation")
    gone = "SELECT id FROM owner WHERE id NOT IN (SELECT owner_id FROM membership WHERE role = 'owner')"
    for table in ("notice_draft", "owner_session", "password_reset", "oauth_attempt", "membership"):
        op.execute(f"DELETE FROM {table} WHERE owner_id IN ({gone})")
    op.execute("DELETE FROM owner WHERE id NOT IN (SELECT owner_id FROM membership WHERE role = 'owner')")
    op.drop_table("membership")
    op.execute("ALTER TABLE account DROP COLUMN contact_id")


def _rebuild_drafts(*, with_account: bool) -> None:
    """Create the table of drafts again: its key gets the account, or loses it."""
    op.execute(f"CREATE TABLE former_draft AS SELECT owner_id, {_DRAFT} FROM notice_draft{_OF_HOME[with_account]}")
    op.drop_table("notice_draft")
    columns, keys = [sa.Column("owner_id", _ID, nullable=False)], ["owner_id"]
    links = [sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_notice_draft_owner_id_owner"))]
    if with_account:
        columns.append(sa.Column("account_id", _ID, nullable=False))
        keys.append("account_id")
        links.append(
            sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_notice_draft_account_id_account"))
        )
    op.create_table(
        "notice_draft",
        *columns,
        sa.Column("kind", sa.String(40), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("subject", "html", "text")),
        sa.Column("markdown", sa.Text(), nullable=True),
        sa.Column("based_on", _ID, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        *links,
        sa.PrimaryKeyConstraint(*keys, "kind", name=op.f("pk_notice_draft")),
    )
    if with_account:
        op.execute(
            f"INSERT INTO notice_draft (owner_id, account_id, {_DRAFT})"
            f" SELECT owner.id, owner.account_id, {_DRAFT} FROM former_draft JOIN owner ON owner.id = owner_id"
        )
    else:
        op.execute(f"INSERT INTO notice_draft (owner_id, {_DRAFT}) SELECT owner_id, {_DRAFT} FROM former_draft")
    op.drop_table("former_draft")


# A person's drafts in other accounts than the one of the release before would take its place.
_OF_HOME = {
    True: "",
    False: " WHERE account_id = (SELECT owner.account_id FROM owner WHERE owner.id = notice_draft.owner_id)",
}
