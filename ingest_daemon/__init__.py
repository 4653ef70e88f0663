"""Listens to the station's telemetry over Lightstreamer and stores it: feed → reading → writer."""
