"""Virtual time: the product's scheduler against modelled workers, and the baselines that it is compared with."""
