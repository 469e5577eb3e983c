"""``python -m app.cli.bench``: how fast the service is here, against what it could be at best."""
