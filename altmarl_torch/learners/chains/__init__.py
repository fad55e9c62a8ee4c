"""L-LEARN as printed (Algorithm 2): chained MDPs and UCFH."""
