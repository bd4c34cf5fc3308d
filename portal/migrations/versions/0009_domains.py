"""what was found about sending domains"""

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    pass
