"""Guard the network's edge: MONAI Label's web application behind checks, and the process that serves it."""
