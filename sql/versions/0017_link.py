from sql.migration_file import run_migration_file

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    run_migration_file("0017_link.sql")
