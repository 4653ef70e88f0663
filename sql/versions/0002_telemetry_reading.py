from sql.migration_file import run_migration_file

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_migration_file("0002_telemetry_reading.sql")
