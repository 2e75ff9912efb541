"""The container runner: it makes a container engine match what `user_server_configs` wants."""
