from sql.migration_file import run_migration_file

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    run_migration_file("0015_ordered_chunks.sql")
