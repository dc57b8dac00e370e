"""Offline evaluation: splits that respect time, metrics over the full ranking, intervals, reports."""
