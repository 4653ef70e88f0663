from sql.migration_file import run_migration_file

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_migration_file("0001_schema.sql")
