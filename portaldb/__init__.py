"""The mcp_portal database as a package: its SQL, and the command that applies and checks it."""

__version__ = "0.1.0"
