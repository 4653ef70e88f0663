from sql.migration_file import run_migration_file

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    run_migration_file("0012_grant_roles.sql")
