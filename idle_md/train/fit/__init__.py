"""The fit: loop, Lightning module and callbacks."""
