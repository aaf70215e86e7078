"""The same structures in every engine."""
