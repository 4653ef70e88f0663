from sql.migration_file import run_migration_file

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_migration_file("0004_telemetry_minute.sql")
