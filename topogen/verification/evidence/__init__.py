"""What a cloud, manifold, mesh or grid says of its Betti numbers, and the claims that come with it."""
