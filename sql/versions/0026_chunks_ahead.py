from sql.migration_file import run_migration_file

revision = "0026"
down_revision = "0025"


def upgrade() -> None:
    run_migration_file("0026_chunks_ahead.sql")
