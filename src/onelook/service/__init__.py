"""A detector as a service: images come in over HTTP, detections go out as JSON. Needs the extra `serve`."""
