"""Thin adapters between Dagster and the project: what the asset graph, the sensors and the schedules are."""

import warnings

import dagster as dg

# The single-run backfill policy has been "beta" for years; each process that loads the project would say so.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
