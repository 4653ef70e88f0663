from sql.migration_file import run_migration_file

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_migration_file("0007_retention.sql")
