"""second factors: passkeys, authenticator apps, recovery codes, log-ins that wait for one, and accounts that demand one"""

import sqlalchemy as sa
from alembic import op

revision = "0049"
down_revision = "0048"

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column(
        "account", sa.Column("demands_factor", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.create_table(
        "totp",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary(), nullable=False),
        sa.Column("last_step", _ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_totp_owner_id_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_totp")),
        sa.UniqueConstraint("owner_id", name=op.f("uq_totp_owner_id")),
    )
    op.create_table(
        "recovery_code",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("code_hash", sa.String(64), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_recovery_code_owner_id_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recovery_code")),
        sa.UniqueConstraint("code_hash", name=op.f("uq_recovery_code_code_hash")),
    )
    op.create_index(op.f("ix_recovery_code_owner_id"), "recovery_code", ["owner_id"])
    op.create_table(
        "login_challenge",
        sa.Column("id", _ID, nullable=False),
        sa.Column("token_hash", sa.String(64), nullable=False),
        sa.Column("owner_id", _ID, nullable=True),
        sa.Column("purpose", sa.String(12), nullable=False),
        sa.Column("challenge", sa.String(200), nullable=False),
        sa.Column("attempts", _ID, nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_login_challenge_owner_id_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_login_challenge")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_login_challenge_token_hash")),
    )
    op.create_index(op.f("ix_login_challenge_owner_id"), "login_challenge", ["owner_id"])
    op.create_index(op.f("ix_login_challenge_created_at"), "login_challenge", ["created_at"])
    op.create_table(
        "passkey",
        sa.Column("id", _ID, nullable=False),
        sa.Column("owner_id", _ID, nullable=False),
        sa.Column("credential_id", sa.String(1400), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", _ID, nullable=False),
        sa.Column("handle", sa.LargeBinary(), nullable=False),
        sa.Column("name", sa.String(60), nullable=False),
        sa.Column("is_backed_up", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["owner.id"], name=op.f("fk_passkey_owner_id_owner")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_passkey")),
        sa.UniqueConstraint("credential_id", name=op.f("uq_passkey_credential_id")),
    )
    op.create_index(op.f("ix_passkey_owner_id"), "passkey", ["owner_id"])


def downgrade() -> None:
    """The release before asks for the password alone, so second factors end."""
    op.drop_table("passkey")
    op.drop_table("login_challenge")
    op.drop_table("recovery_code")
    op.drop_table("totp")
    op.execute("ALTER TABLE account DROP COLUMN demands_factor")
