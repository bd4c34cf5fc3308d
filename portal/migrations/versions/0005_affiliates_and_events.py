"""where an affiliate stands, and the events that cause emails"""

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    pass
