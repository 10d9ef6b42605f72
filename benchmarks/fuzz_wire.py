"""Let atheris look for bytes that break the wire code: `make fuzz-wire`, a minute unless SECONDS says more."""

import os
import sys
import tempfile
from pathlib import Path

try:
    import atheris
except ImportError:
    print("atheris has no wheel for this Python or machine: nothing was tried")
    sys.exit(0)

with atheris.instrument_imports(include=["watchkey.wire"]):
    from tests.wire.anything import hold
    from tests.wire.test_anything import GOOD


def main() -> None:
    """Run for SECONDS; what breaks is written to crash-* in a folder that is named then."""
    with tempfile.TemporaryDirectory() as corpus:
        for number, good in enumerate(GOOD):
            Path(corpus, str(number)).write_bytes(bytes([number]) + good)
        Path(corpus, "all").write_bytes(b"\x05" + b"".join(GOOD))
        found = tempfile.mkdtemp(prefix="watchkey-fuzz-")
        words = [f"-max_total_time={os.environ.get('SECONDS', '60')}", "-max_len=2000", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *words, f"-artifact_prefix={found}/", corpus], hold)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
