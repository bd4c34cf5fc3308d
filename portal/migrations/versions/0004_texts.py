"""an account's own texts and look"""

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    pass
