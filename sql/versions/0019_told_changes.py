from sql.migration_file import run_migration_file

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    run_migration_file("0019_told_changes.sql")
