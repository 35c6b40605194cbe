"""The HTTP server: an app factory and one small file a surface."""
