from sql.migration_file import run_migration_file

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_migration_file("0005_setting.sql")
