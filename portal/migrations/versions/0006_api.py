"""tokens of an account's shop"""

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    pass
