"""The processes of a run: rank and group size, launcher, heartbeat, stop signal, device, memory."""
