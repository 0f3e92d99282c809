"""Containers that hold many values in little memory."""
