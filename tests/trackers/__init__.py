"""Runs that the real packages of other trackers write; requirements-trackers.txt has them."""
