"""Virtual time for engines that batch continuously: modelled replicas, and ways of feeding them."""
