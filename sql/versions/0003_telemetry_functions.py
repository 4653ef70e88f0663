from sql.migration_file import run_migration_file

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_migration_file("0003_telemetry_functions.sql")
