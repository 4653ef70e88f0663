from sql.migration_file import run_migration_file

revision = "0027"
down_revision = "0026"


def upgrade() -> None:
    run_migration_file("0027_told_rows.sql")
