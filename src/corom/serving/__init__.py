"""The HTTP service: `Server(Service(encoder, settings=ServeSettings())).run()`."""
