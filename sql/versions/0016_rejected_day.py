from sql.migration_file import run_migration_file

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    run_migration_file("0016_rejected_day.sql")
