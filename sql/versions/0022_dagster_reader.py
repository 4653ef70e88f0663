from sql.migration_file import run_migration_file

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    run_migration_file("0022_dagster_reader.sql")
