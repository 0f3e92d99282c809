"""Servers that a program starts and stops itself."""
