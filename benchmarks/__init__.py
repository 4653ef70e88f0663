"""One script per performance promise: each prints one table and one JSON object."""
