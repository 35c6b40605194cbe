"""Wire only: the schemas of the HTTP surfaces and server-sent events, used by the server and the client alike."""
