from sql.migration_file import run_migration_file

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    run_migration_file("0010_telemetry_window_snapshot.sql")
