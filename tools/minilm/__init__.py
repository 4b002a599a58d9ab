"""The text model of `lite` as it ships: rounded from the published weights."""
