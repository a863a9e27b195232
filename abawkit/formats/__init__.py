"""Files to tables and back. A further edition of the challenge plugs in here: see `abawkit.formats.base`."""
