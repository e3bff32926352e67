"""`python -m t3d`: the command line, for torchrun and for machines where scripts are not on the path."""

from t3d.cli import main

if __name__ == "__main__":
    main()
