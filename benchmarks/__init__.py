"""The cases of ``pyneural bench``: the same jobs in pyneural and in its peers. Installed as ``pyneural.benchmarks``."""
