"""Every counter of a namespace: readings, series, forecasts and meanings."""
