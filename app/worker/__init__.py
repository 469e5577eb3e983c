"""The worker: claim, heartbeat, run, finish. Training never runs in the API's process."""
