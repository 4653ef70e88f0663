"""Pictures for the Dagster UI: pure functions from data to small PNGs. No Dagster, no SQL, no clock."""
