"""Telling people outside of Dagster that something is wrong, and that it is over."""
