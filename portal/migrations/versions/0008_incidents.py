"""incidents, alerts and limits"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    op.create_table('discarded_message',
    sa.Column('message_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('why', sa.String(length=300), nullable=False),
    sa.PrimaryKeyConstraint('message_id', name=op.f('pk_discarded_message'))
    )
    op.create_table('incident_watch',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('looked_at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_incident_watch'))
    )
    op.create_table('sending_rate',
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('per_second', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('per_hour', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('per_day', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('second_full_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('hour_full_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('day_full_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('slowed_to', sa.Float(), nullable=True),
    sa.Column('slowed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('slowed_from', sa.Float(), nullable=True),
    sa.Column('slow_full_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('goes_on_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('account_id', name=op.f('pk_sending_rate'))
    )
    op.create_table('hook_delivery',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('key', sa.String(length=80), nullable=False),
    sa.Column('event', sa.String(length=40), nullable=False),
    sa.Column('body', sa.Text(), nullable=False),
    sa.Column('state', sa.String(length=12), nullable=False),
    sa.Column('attempts', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('status_code', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('problem', sa.String(length=200), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('next_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('lease_until', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], name=op.f('fk_hook_delivery_account_id_account')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_hook_delivery')),
    sa.UniqueConstraint('account_id', 'key', name=op.f('uq_hook_delivery_account_id_key'))
    )
    with op.batch_alter_table('hook_delivery', schema=None) as batch_op:
        batch_op.create_index('ix_hook_delivery_due', ['state', 'next_at'], unique=False)
        batch_op.create_index('ix_hook_delivery_list', ['account_id', 'id'], unique=False)

    op.create_table('incident',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('kind', sa.String(length=12), nullable=False),
    sa.Column('cause', sa.String(length=80), nullable=False),
    sa.Column('server', sa.String(length=260), nullable=False),
    sa.Column('version_number', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('is_open', sa.Boolean(), nullable=False),
    sa.Column('diagnosis', sa.JSON(), nullable=False),
    sa.Column('stage', sa.String(length=12), nullable=False),
    sa.Column('stops', sa.Boolean(), nullable=False),
    sa.Column('last_words', sa.String(length=500), nullable=False),
    sa.Column('reply_code', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('opened_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('began_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('last_seen_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended', sa.String(length=12), nullable=False),
    sa.Column('episodes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('attempts', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('messages', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('waited', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('alert_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('recovery_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('alerted_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('tellings', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('alert_note', sa.String(length=200), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], name=op.f('fk_incident_account_id_account')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_incident'))
    )
    with op.batch_alter_table('incident', schema=None) as batch_op:
        batch_op.create_index('ix_incident_alert_at', ['alert_at'], unique=False)
        batch_op.create_index('ix_incident_list', ['account_id', 'id'], unique=False)
        batch_op.create_index('ix_incident_recovery_at', ['recovery_at'], unique=False)
        batch_op.create_index('uq_incident_open', ['account_id', 'cause', 'server'], unique=True, sqlite_where=sa.text('is_open'), postgresql_where=sa.text('is_open'))

    op.create_table('incident_care',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('mail', sa.Boolean(), nullable=False),
    sa.Column('hook_on', sa.Boolean(), nullable=False),
    sa.Column('hook_url', sa.String(length=500), nullable=False),
    sa.Column('sealed_secret', sa.LargeBinary(), nullable=True),
    sa.Column('on_failure', sa.String(length=12), nullable=False),
    sa.Column('after_minutes', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], name=op.f('fk_incident_care_account_id_account')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_incident_care')),
    sa.UniqueConstraint('account_id', name=op.f('uq_incident_care_account_id'))
    )
    op.create_table('incident_event',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('incident_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('happening', sa.String(length=12), nullable=False),
    sa.Column('words', sa.String(length=300), nullable=False),
    sa.ForeignKeyConstraint(['incident_id'], ['incident.id'], name=op.f('fk_incident_event_incident_id_incident')),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_incident_event'))
    )
    with op.batch_alter_table('incident_event', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_incident_event_incident_id'), ['incident_id'], unique=False)

    op.create_table('incident_message',
    sa.Column('incident_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('message_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.ForeignKeyConstraint(['incident_id'], ['incident.id'], name=op.f('fk_incident_message_incident_id_incident')),
    sa.PrimaryKeyConstraint('incident_id', 'message_id', name=op.f('pk_incident_message'))
    )
    op.create_table('settings_proof',
    sa.Column('version_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('account_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('proven_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('tried_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('next_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('failures', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('diagnosis', sa.JSON(), nullable=True),
    sa.Column('certificate_until', sa.DateTime(timezone=True), nullable=True),
    sa.ForeignKeyConstraint(['account_id'], ['account.id'], name=op.f('fk_settings_proof_account_id_account')),
    sa.ForeignKeyConstraint(['version_id'], ['smtp_settings.id'], name=op.f('fk_settings_proof_version_id_smtp_settings')),
    sa.PrimaryKeyConstraint('version_id', name=op.f('pk_settings_proof'))
    )
    with op.batch_alter_table('settings_proof', schema=None) as batch_op:
        batch_op.create_index(batch_op.f('ix_settings_proof_account_id'), ['account_id'], unique=False)
        batch_op.create_index(batch_op.f('ix_settings_proof_next_at'), ['next_at'], unique=False)

    with op.batch_alter_table('smtp_settings', schema=None) as batch_op:
        batch_op.add_column(sa.Column('bypassed_since', sa.DateTime(timezone=True), nullable=True))
