"""The stages of a method: each takes a potential over from the one before and trains it on."""
