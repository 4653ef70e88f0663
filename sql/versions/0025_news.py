from sql.migration_file import run_migration_file

revision = "0025"
down_revision = "0024"


def upgrade() -> None:
    run_migration_file("0025_news.sql")
