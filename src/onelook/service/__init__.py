"""A detector as a service: pictures come in over HTTP, detections go out as JSON. Needs the extra `serve`."""
