"""The `idle-md` command: one file a verb."""
