"""Makes a key, writes its public half to a file, and prints a token signed with it."""

import sys
import time
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

key = Ed25519PrivateKey.generate()
public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
Path(sys.argv[1]).write_bytes(public)
claims = {"iss": "comparison", "sub": "caller", "role": "client", "exp": int(time.time()) + 86_400}
print(jwt.encode(claims, key, algorithm="EdDSA"), end="")
