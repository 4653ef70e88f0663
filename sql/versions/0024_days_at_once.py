from sql.migration_file import run_migration_file

revision = "0024"
down_revision = "0023"


def upgrade() -> None:
    run_migration_file("0024_days_at_once.sql")
