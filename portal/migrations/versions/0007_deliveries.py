"""searching, keeping and pruning the log"""

import sqlalchemy as sa
from alembic import op


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
    _make_triggers(op.get_bind(), backfill=True)


# The triggers as this migration made them; later changes are later migrations.
WORDS = "delivery_words"  # the index of words in subjects: a table of its own in SQLite, with its shadows

FOLD = "delivery_fold"  # PostgreSQL's way to small letters, whatever the language of the database
_UNICODE = 'COLLATE "und-x-icu"'
_KNOWS_UNICODE = (
    "SELECT count(*) FROM pg_collation WHERE collname = 'und-x-icu' AND getdatabaseencoding() = 'UTF8'"
)

_DOMAIN = "substr(lower(m.recipient), length(rtrim(m.recipient, replace(m.recipient, '@', ''))) + 1)"
_SQLITE_SECONDS = (
    "CASE WHEN m.status = 'sent' THEN (julianday(m.settled_at) - julianday(m.created_at)) * 86400.0 END"
)
_SECONDS = "CASE WHEN m.status = 'sent' THEN extract(epoch FROM m.settled_at - m.created_at) END"
_COLUMNS = (
    "message_id, account_id, created_at, status, kind, recipient, domain, subject, reference, attempt, queue_id,"
    " settled_at, seconds"
)
_VALUES = (
    "m.id, m.account_id, m.created_at, m.status, m.kind, lower(m.recipient), {domain}, m.subject,"
    " coalesce(m.message_id, ''), 0, '', m.settled_at, {seconds}"
)
_CHANGES = (
    "status = m.status, settled_at = m.settled_at, seconds = {seconds}, reference = coalesce(m.message_id, ''),"
    " created_at = m.created_at"
)
_CHANGING = "status, settled_at, message_id, created_at"
_TRIED = (
    "attempt = new.number, version = new.version_number, code = new.reply_code,"
    " queue_id = CASE WHEN new.queue_id <> '' THEN new.queue_id ELSE queue_id END"
)
_LAST = "message_id = new.message_id AND attempt <= new.number"
_TRYING = "outcome, version_number, reply_code, queue_id, number"

# What the tables hold already, where the log comes to an older portal.
_FILL = (
    f"INSERT INTO delivery_line ({_COLUMNS}) SELECT {_VALUES} FROM outbox_message m WHERE m.account_id IS NOT NULL",
    """UPDATE delivery_line SET attempt = a.number, version = a.version_number, code = a.reply_code, queue_id = a.queue_id
       FROM delivery_attempt a WHERE a.message_id = delivery_line.message_id AND a.number =
       (SELECT max(b.number) FROM delivery_attempt b WHERE b.message_id = a.message_id AND b.outcome <> 'started')""",
)


def _sqlite() -> list[str]:
    def new(text: str) -> str:
        return text.format(domain=_DOMAIN, seconds=_SQLITE_SECONDS).replace("m.", "new.")

    return [
        """CREATE VIRTUAL TABLE delivery_words USING fts5(subject, account_id, content='delivery_line',
           content_rowid='message_id', tokenize='unicode61 remove_diacritics 2')""",
        f"""CREATE TRIGGER delivery_born AFTER INSERT ON outbox_message WHEN new.account_id IS NOT NULL BEGIN
            INSERT INTO delivery_line ({_COLUMNS}) VALUES ({new(_VALUES)}); END""",
        f"""CREATE TRIGGER delivery_moved AFTER UPDATE OF {_CHANGING} ON outbox_message BEGIN
            UPDATE delivery_line SET {new(_CHANGES)} WHERE message_id = new.id; END""",
        """CREATE TRIGGER delivery_gone AFTER DELETE ON outbox_message BEGIN
           DELETE FROM delivery_line WHERE message_id = old.id; END""",
        *[
            f"""CREATE TRIGGER delivery_{name} AFTER {when} ON delivery_attempt WHEN new.outcome <> 'started' BEGIN
                UPDATE delivery_line SET {_TRIED} WHERE {_LAST}; END"""
            for name, when in (("tried", "INSERT"), ("retold", f"UPDATE OF {_TRYING}"))
        ],
        """CREATE TRIGGER delivery_words_in AFTER INSERT ON delivery_line BEGIN
           INSERT INTO delivery_words (rowid, subject, account_id)
           VALUES (new.message_id, new.subject, new.account_id); END""",
        """CREATE TRIGGER delivery_words_out AFTER DELETE ON delivery_line BEGIN
           INSERT INTO delivery_words (delivery_words, rowid, subject, account_id)
           VALUES ('delete', old.message_id, old.subject, old.account_id); END""",
    ]


def _postgresql(*, unicode: bool) -> list[str]:
    domain = "lower(substring(m.recipient FROM '[^@]*$'))"

    def new(text: str) -> str:
        return text.format(domain=domain, seconds=_SECONDS).replace("m.", "new.")

    function = "CREATE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {}; RETURN NULL; END $$"
    trigger = "CREATE TRIGGER {0} AFTER {1} FOR EACH ROW {2} EXECUTE FUNCTION {3}()"
    started = "WHEN (new.outcome <> 'started')"
    tried = f"UPDATE delivery_line SET {_TRIED} WHERE {_LAST}"
    return [
        f"CREATE FUNCTION {FOLD}(text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE"
        f" AS $$ SELECT lower($1{' ' + _UNICODE if unicode else ''}) $$",
        f"CREATE INDEX {WORDS} ON delivery_line USING gin (to_tsvector('simple', {FOLD}(subject)))",
        function.format("delivery_born", f"INSERT INTO delivery_line ({_COLUMNS}) VALUES ({new(_VALUES)})"),
        function.format(
            "delivery_moved", f"UPDATE delivery_line SET {new(_CHANGES)} WHERE message_id = new.id"
        ),
        function.format("delivery_gone", "DELETE FROM delivery_line WHERE message_id = old.id"),
        function.format("delivery_tried", tried),
        trigger.format(
            "delivery_born",
            "INSERT ON outbox_message",
            "WHEN (new.account_id IS NOT NULL)",
            "delivery_born",
        ),
        trigger.format("delivery_moved", f"UPDATE OF {_CHANGING} ON outbox_message", "", "delivery_moved"),
        trigger.format("delivery_gone", "DELETE ON outbox_message", "", "delivery_gone"),
        trigger.format("delivery_tried", "INSERT ON delivery_attempt", started, "delivery_tried"),
        trigger.format(
            "delivery_retold", f"UPDATE OF {_TRYING} ON delivery_attempt", started, "delivery_tried"
        ),
    ]


def _make_triggers(bind: sa.Connection, *, backfill: bool) -> None:
    """Make the triggers and the index of words; with ``backfill``, the lines of what is there already."""
    postgresql = bind.dialect.name == "postgresql"
    domain = "lower(substring(m.recipient FROM '[^@]*$'))" if postgresql else _DOMAIN
    unicode = postgresql and bool(bind.exec_driver_sql(_KNOWS_UNICODE).scalar())
    for statement in _postgresql(unicode=unicode) if postgresql else _sqlite():
        bind.exec_driver_sql(statement)
    for statement in _FILL if backfill else ():
        bind.exec_driver_sql(
            statement.format(domain=domain, seconds=_SECONDS if postgresql else _SQLITE_SECONDS)
        )
