from sql.migration_file import run_migration_file

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    run_migration_file("0020_known_version.sql")
