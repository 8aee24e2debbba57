"""`python -m balle2017` is the command `balle2017`."""

from balle2017.tfci import run

if __name__ == "__main__":
    run()
