from sql.migration_file import run_migration_file

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_migration_file("0006_telemetry_minute_chunks.sql")
