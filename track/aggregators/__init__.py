"""Aggregators of logged values."""
