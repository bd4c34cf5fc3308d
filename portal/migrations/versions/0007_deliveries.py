"""searching, keeping and pruning the log"""

import sqlalchemy as sa
from alembic import op

from portal.deliveries.triggers import (ddl)

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table('attempt_total',
    sa.Column('provider', sa.String(length=40), nullable=False),
    sa.Column('outcome', sa.String(length=12), nullable=False),
    sa.Column('stage', sa.String(length=12), nullable=False),
    sa.Column('step', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('count', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('seconds', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('provider', 'outcome', 'stage', 'step', name=op.f('pk_attempt_total')),
    )

    op.create_table('delivery_hour',
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('hour', sa.DateTime(timezone=True), nullable=False),
    sa.Column('status', sa.String(length=12), nullable=False),
    sa.Column('step', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('count', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.PrimaryKeyConstraint('account_id', 'hour', 'status', 'step', name=op.f('pk_delivery_hour')),
    sqlite_with_rowid=False,
    )

    op.create_table('delivery_line',
    sa.Column('message_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('status', sa.String(length=12), nullable=False),
    sa.Column('kind', sa.String(length=40), nullable=False),
    sa.Column('recipient', sa.String(length=254).with_variant(sa.String(length=254, collation='C'), 'postgresql'), nullable=False),
    sa.Column('domain', sa.String(length=254), nullable=False),
    sa.Column('subject', sa.String(length=500), nullable=False),
    sa.Column('reference', sa.String(length=300), nullable=False),
    sa.Column('attempt', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('code', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('queue_id', sa.String(length=120), nullable=False),
    sa.Column('settled_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('seconds', sa.Double(), nullable=True),
    sa.Column('wiped_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('message_id', name=op.f('pk_delivery_line')),
    )
    op.create_index('ix_delivery_line_code', 'delivery_line', ['account_id', 'code', 'message_id'], unique=False)
    op.create_index('ix_delivery_line_created', 'delivery_line', ['account_id', 'created_at', 'message_id'], unique=False)
    op.create_index('ix_delivery_line_domain', 'delivery_line', ['account_id', 'domain', 'message_id'], unique=False)
    op.create_index('ix_delivery_line_kind', 'delivery_line', ['account_id', 'kind', 'message_id'], unique=False)
    op.create_index('ix_delivery_line_log', 'delivery_line', ['account_id', 'message_id', 'created_at'], unique=False)
    op.create_index('ix_delivery_line_queue_id', 'delivery_line', ['account_id', 'queue_id'], unique=False)
    op.create_index('ix_delivery_line_recipient', 'delivery_line', ['account_id', 'recipient', 'message_id'], unique=False)
    op.create_index('ix_delivery_line_reference', 'delivery_line', ['account_id', 'reference'], unique=False)
    op.create_index('ix_delivery_line_settled', 'delivery_line', ['account_id', 'settled_at', 'status', 'seconds'], unique=False)
    op.create_index('ix_delivery_line_status', 'delivery_line', ['account_id', 'status', 'message_id', 'created_at'], unique=False)
    op.create_index('ix_delivery_line_version', 'delivery_line', ['account_id', 'version', 'message_id'], unique=False)
    op.create_index('ix_delivery_line_wiped', 'delivery_line', ['account_id', 'wiped_at', 'settled_at'], unique=False)
    failed = sa.text("status = 'failed'")
    for name in ('kind', 'code', 'version'):
        op.create_index(f'ix_delivery_line_failed_{name}', 'delivery_line', ['account_id', 'status', name, 'message_id'], unique=False, sqlite_where=failed, postgresql_where=failed)

    op.create_table('roll_mark',
    sa.Column('name', sa.String(length=20), nullable=False),
    sa.Column('until', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_roll_mark')),
    )

    op.create_table('bulk_order',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('key', sa.String(length=60), nullable=False),
    sa.Column('action', sa.String(length=12), nullable=False),
    sa.Column('filters', sa.JSON(), nullable=False),
    sa.Column('idents', sa.JSON(), nullable=True),
    sa.Column('total', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('more', sa.Boolean(), nullable=False),
    sa.Column('done', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('changed', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('upto', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('cursor', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], name=op.f('fk_bulk_order_account_id_account')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_bulk_order')),
    sa.UniqueConstraint('key', name=op.f('uq_bulk_order_key')),
    )
    op.create_index('ix_bulk_order_account', 'bulk_order', ['account_id', 'id'], unique=False)
    op.create_index('ix_bulk_order_state', 'bulk_order', ['state'], unique=False)

    op.create_table('delivery_keeping',
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('body_days', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('row_days', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], name=op.f('fk_delivery_keeping_account_id_account')),
    sa.PrimaryKeyConstraint('account_id', name=op.f('pk_delivery_keeping')),
    )
    some = sa.text('origin_id IS NOT NULL')
    op.create_index('ix_outbox_message_origin', 'outbox_message', ['origin_id'], unique=False, sqlite_where=some, postgresql_where=some)
    ddl(op.get_bind(), backfill=True)
