from sql.migration_file import run_migration_file

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    run_migration_file("0021_alerts.sql")
