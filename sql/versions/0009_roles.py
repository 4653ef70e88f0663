from sql.migration_file import run_migration_file

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    run_migration_file("0009_roles.sql")
