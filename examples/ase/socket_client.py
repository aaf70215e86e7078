"""A model as the client of i-PI, or of any program that speaks its protocol.

    i-pi input.xml &
    python socket_client.py model.pt start.xyz --unix driver

The server moves the atoms, for example as path integrals; this process gives it energies, forces
and, for periodic structures, the virial.
"""

import argparse

import ase.io
from ase.calculators.socketio import SocketClient

import idle_md

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("model")
parser.add_argument("structure", help="the atoms in the server's order")
parser.add_argument("--unix", metavar="NAME", help="socket on this machine, /tmp/ipi_NAME")
parser.add_argument("--host", default="localhost")
parser.add_argument("--port", type=int, default=31415)
options = parser.parse_args()

atoms = ase.io.read(options.structure)
atoms.calc = idle_md.Calculator(options.model)
if options.unix:
    client = SocketClient(unixsocket=options.unix)
else:
    client = SocketClient(host=options.host, port=options.port)
client.run(atoms, use_stress=bool(atoms.pbc.all()))
