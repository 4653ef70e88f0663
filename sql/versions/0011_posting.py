from sql.migration_file import run_migration_file

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    run_migration_file("0011_posting.sql")
