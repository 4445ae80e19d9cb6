"""Every counter of a namespace: readings, series, forecasts and what they mean."""
