from sql.migration_file import run_migration_file

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    run_migration_file("0008_reading_side.sql")
