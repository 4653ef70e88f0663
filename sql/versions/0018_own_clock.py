from sql.migration_file import run_migration_file

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    run_migration_file("0018_own_clock.sql")
