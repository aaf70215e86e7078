"""New fidelities in closed form."""
