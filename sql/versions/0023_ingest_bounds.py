from sql.migration_file import run_migration_file

revision = "0023"
down_revision = "0022"


def upgrade() -> None:
    run_migration_file("0023_ingest_bounds.sql")
