"""Converters from public datasets to folders of cases; the user downloads the data."""
