"""`./dev bench [ROW ...]`: the budgets of nettop, each beside its peers in the same run, on this machine."""
