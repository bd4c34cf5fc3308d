"""slots of connections, and what the outbox needs to run on many machines"""

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    pass
