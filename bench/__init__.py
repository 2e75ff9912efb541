"""How quick portaldb is beside other tools, measured in one run on one machine: `python -m bench`."""
