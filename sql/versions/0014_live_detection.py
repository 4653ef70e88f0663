from sql.migration_file import run_migration_file

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    run_migration_file("0014_live_detection.sql")
