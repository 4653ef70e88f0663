from sql.migration_file import run_migration_file

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    run_migration_file("0013_posting.sql")
